//! What the consumer chooses.

use crate::error::ClientError;
use quipu_primitives::{AccountBytes, Digest};
use quipu_protocol::limits;
use std::time::Duration;

/// How tokens are chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SamplingOptions {
    /// Most tokens of the answer; at least 1.
    pub max_tokens: u32,
    /// 0 takes the likeliest token; higher spreads the choice.
    pub temperature: f32,
    /// Chooses among this many of the likeliest; 0 for all.
    pub top_k: u32,
    /// Chooses among the likeliest that together have this probability; 1 for all.
    pub top_p: f32,
    /// Makes the text reproducible: the same seed, model, prompt and options give the same text in
    /// any session and through any servers of an exact profile with activations in f32; with
    /// activations in 16 bits, through servers of the same spans.
    ///
    /// The session's sampling nonce is derived from it, so that whoever guesses the seed foresees
    /// the choice of tokens. Leave it out where that matters; the nonce is then random.
    pub seed: Option<u64>,
}

impl Default for SamplingOptions {
    fn default() -> Self {
        SamplingOptions {
            max_tokens: 256,
            temperature: 0.0,
            top_k: 0,
            top_p: 1.0,
            seed: None,
        }
    }
}

impl SamplingOptions {
    /// Can tokens be chosen like this?
    pub fn validate(&self) -> Result<(), ClientError> {
        let bad = |what: String| Err(ClientError::Options(what));
        if self.max_tokens == 0 {
            return bad("max_tokens is 0; ask for at least one token".into());
        }
        if !self.temperature.is_finite() || self.temperature < 0.0 {
            return bad(format!(
                "temperature {} is not a number from 0 on",
                self.temperature
            ));
        }
        if !(self.top_p > 0.0 && self.top_p <= 1.0) {
            return bad(format!(
                "top_p {} does not lie above 0 and up to 1",
                self.top_p
            ));
        }
        Ok(())
    }
}

/// How the client deals with the swarm.
#[derive(Clone, Debug, PartialEq)]
pub struct ClientOptions {
    /// Replacements that are named for each span, as far as the roster has them. Each adds its cap
    /// to the deposit; what is not earned comes back.
    pub standbys: usize,
    /// Most servers of a session, stand-bys included: the chain's limit.
    pub max_servers: usize,
    /// Microseconds of latency per position that the consumer bears to save a millionth of a QPU
    /// per position. 0 ignores prices.
    pub price_weight: u64,
    /// Uses only this numeric profile. `None` takes the cheapest route within any one profile that
    /// the subnet accepts.
    pub profile: Option<Digest>,
    /// Blocks until the session expires.
    pub duration: u32,
    /// Who brought the consumer.
    pub integrator: Option<AccountBytes>,
    /// How long to look for a complete chain of servers before giving up.
    pub route_patience: Duration,
    /// How long to wait for a stream, and for the answer to an `Open`.
    pub open_timeout: Duration,
    /// How long a server may know nothing of a session that was just opened.
    pub session_patience: Duration,
    /// How long to wait for the answer to a step.
    pub step_timeout: Duration,
    /// How long a failed server is left alone at first.
    pub ban: Duration,
    /// Lets servers hand their outputs on to each other: one round trip for each token instead of
    /// one for each server. They come here as well, for checks and fail-over.
    pub push: bool,
    /// Most tokens that are guessed ahead with each that is sure, where the profile is exact: the
    /// servers check them in one pass, and the answer is the same in fewer round trips. At most
    /// [`limits::MAX_DRAFTED`] count; 0 guesses nothing.
    pub draft: u32,
    /// Seed for choices among equal routes; random without.
    pub route_seed: Option<u64>,
}

impl Default for ClientOptions {
    fn default() -> Self {
        ClientOptions {
            standbys: 1,
            max_servers: 32,
            price_weight: 1,
            profile: None,
            duration: 600,
            integrator: None,
            route_patience: Duration::from_secs(10),
            open_timeout: limits::OPEN_TIMEOUT,
            session_patience: Duration::from_secs(20),
            step_timeout: limits::STEP_TIMEOUT,
            ban: limits::BAN,
            push: true,
            draft: limits::MAX_DRAFTED,
            route_seed: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_choices_are_refused() {
        let good = SamplingOptions::default();
        assert!(good.validate().is_ok());
        for bad in [
            SamplingOptions {
                max_tokens: 0,
                ..good
            },
            SamplingOptions {
                temperature: -0.1,
                ..good
            },
            SamplingOptions {
                temperature: f32::NAN,
                ..good
            },
            SamplingOptions { top_p: 0.0, ..good },
            SamplingOptions { top_p: 1.1, ..good },
            SamplingOptions {
                top_p: f32::NAN,
                ..good
            },
        ] {
            assert!(
                matches!(bad.validate(), Err(ClientError::Options(_))),
                "{bad:?}"
            );
        }
    }
}
