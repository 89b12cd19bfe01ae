//! How what a server earned is shared out: pure money maths, without storage.

use quipu_primitives::Balance;

/// The parts of what one server of a session earned. They add up to it exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shares {
    /// To the server's owner.
    pub server: Balance,
}

/// Shares out what a server earned. Every share of a session's fees is decided here and nowhere
/// else; in this version the server's owner gets all of it.
pub fn split(earned: Balance) -> Shares {
    Shares { server: earned }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up_to_what_was_earned() {
        for earned in [0, 1, 99, Balance::MAX] {
            let Shares { server } = split(earned);
            assert_eq!(server, earned);
        }
    }
}
