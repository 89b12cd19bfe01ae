//! [`Client`]: a prompt in, a streamed, paid and attested answer out.

use crate::{
    chain_of_servers::{ChainOfServers, FailOver, Parts},
    draft::{Drafted, Drafter, Pace, PromptLookUp},
    ends::{Ends, EndsError, Prompt, TextStream},
    error::{Broken, ClientError, Inactive},
    failover::Bans,
    link::Context,
    options::{ClientOptions, SamplingOptions},
    payment::Ledger,
    routing::Wish,
    sampling::Nonce,
    session::OpenSession,
};
use parking_lot::Mutex;
use quipu_engine::Sampling;
use quipu_primitives::{
    views::{SessionStatus, SubnetInfo},
    AccountBytes, DType, Kernel, NodeId, SessionId, Span, SubnetId,
};
use quipu_protocol::{limits::MAX_DRAFTED, Activations};
use quipu_worker_core::{
    ports::{Call, ChainError, SharedChain, SharedPeers},
    Signer,
};
use rand::{rngs::StdRng, SeedableRng};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

pub use crate::report::{Abandoned, Event, Finish, Generation, Settlement, Timing};

/// Tokens of a prompt that are led through the servers before it is asked whether to go on.
const PROMPT_PART: usize = 512;
/// How often an answer begins anew.
const MAX_RESTARTS: usize = 2;

/// A client of the swarm. Serves any number of generations at once.
pub struct Client {
    pub(crate) chain: SharedChain,
    pub(crate) peers: SharedPeers,
    pub(crate) ends: Arc<dyn Ends>,
    pub(crate) signer: Arc<dyn Signer>,
    pub(crate) options: ClientOptions,
    pub(crate) drafter: Arc<dyn Drafter>,
    pub(crate) bans: Arc<Mutex<Bans>>,
    /// Sessions that were opened and not yet settled.
    pub(crate) open: Mutex<BTreeMap<SessionId, Arc<Mutex<Ledger>>>>,
}

/// What is asked of the swarm.
#[derive(Clone, Debug)]
pub struct Request {
    /// Who serves.
    pub subnet: SubnetId,
    /// What is asked.
    pub prompt: Prompt,
    /// How tokens are chosen.
    pub sampling: SamplingOptions,
    /// Ends the answer after the token under way; what there is of it is finished, paid and
    /// settled as any answer.
    pub cancel: CancellationToken,
}

impl Request {
    /// A request that nobody cancels.
    pub fn new(subnet: SubnetId, prompt: Prompt, sampling: SamplingOptions) -> Self {
        Request {
            subnet,
            prompt,
            sampling,
            cancel: CancellationToken::new(),
        }
    }
}

/// An answer in the making.
struct Answer {
    text: String,
    tokens: Vec<u32>,
    prompt: Vec<u32>,
    finish: Finish,
    opened: Instant,
    first: Option<Instant>,
    last: Option<Instant>,
    reported: usize,
    drafted: Drafted,
}

impl Client {
    /// A client that pays with `signer`. `ends` must be those of the subnets it will ask.
    pub fn new(
        chain: SharedChain,
        peers: SharedPeers,
        ends: Arc<dyn Ends>,
        signer: Arc<dyn Signer>,
        options: ClientOptions,
    ) -> Self {
        let bans = Arc::new(Mutex::new(Bans::new(options.ban)));
        Client {
            chain,
            peers,
            ends,
            signer,
            options,
            drafter: Arc::new(PromptLookUp),
            bans,
            open: Mutex::default(),
        }
    }

    /// The same with another source of guesses; see [`ClientOptions::draft`].
    pub fn with_drafter(self, drafter: Arc<dyn Drafter>) -> Self {
        Client { drafter, ..self }
    }

    /// The ends.
    pub fn ends(&self) -> &Arc<dyn Ends> {
        &self.ends
    }

    /// Answers a request, and settles its session. `sink` hears of every token as it comes.
    ///
    /// Not cancel-safe: a dropped future leaves its session open; see [`Client::abort`]. To stop
    /// early use [`Request::cancel`].
    pub async fn generate(
        &self,
        request: Request,
        mut sink: impl FnMut(Event<'_>) + Send,
    ) -> Result<Generation, ClientError> {
        request.sampling.validate()?;
        let nonce = Nonce::new(request.sampling.seed);
        let mut abandoned = Vec::new();
        loop {
            let error = match self.attempt(&request, &nonce, &mut sink).await {
                Ok(generation) => {
                    return Ok(Generation {
                        abandoned,
                        ..generation
                    })
                }
                Err(error) => error,
            };
            match error {
                ClientError::Interrupted { reason, partial }
                    if reason.may_restart() && abandoned.len() < MAX_RESTARTS =>
                {
                    warn!(session = partial.session, %reason, "the answer begins anew");
                    sink(Event::Withdrawn {
                        session: partial.session,
                        reason: &reason,
                    });
                    abandoned.push(Abandoned {
                        session: partial.session,
                        settlement: partial.settlement,
                        paid: partial.paid,
                        reason: reason.to_string(),
                    });
                }
                ClientError::Interrupted {
                    reason,
                    mut partial,
                } => {
                    partial.abandoned = abandoned;
                    return Err(ClientError::Interrupted { reason, partial });
                }
                ClientError::Unsettled {
                    session,
                    source,
                    mut generation,
                } => {
                    generation.abandoned = abandoned;
                    return Err(ClientError::Unsettled {
                        session,
                        source,
                        generation,
                    });
                }
                other => return Err(other),
            }
        }
    }

    /// Answers a request in one session.
    async fn attempt(
        &self,
        request: &Request,
        nonce: &Nonce,
        sink: &mut (impl FnMut(Event<'_>) + Send),
    ) -> Result<Generation, ClientError> {
        let started = Instant::now();
        let subnet = self.subnet(request.subnet).await?;
        let (ends, prompt) = (self.ends.clone(), request.prompt.clone());
        let prompt = blocking(move || ends.encode(&prompt)).await?;
        let positions = positions(&subnet, &prompt, request.sampling.max_tokens)?;
        let mut rng = match self.options.route_seed {
            Some(seed) => StdRng::seed_from_u64(seed),
            None => StdRng::from_entropy(),
        };
        let wish = Wish {
            positions,
            price_weight: self.options.price_weight,
        };
        let route = self.find_route(&subnet, &wish, &mut rng).await?;
        let OpenSession { ledger, route } = self
            .open_session(subnet.id, route, positions, nonce)
            .await?;
        let session = ledger.lock().session();
        let named: Vec<(NodeId, Span)> = route
            .primaries
            .iter()
            .map(|&primary| (route.servers[primary].node, route.servers[primary].span))
            .collect();
        info!(
            session,
            ?named,
            prompt_tokens = prompt.len(),
            "session open"
        );
        let kernel = route.profile.kernel;
        let context = Arc::new(Context {
            genesis: self.chain.genesis(),
            session,
            weights_root: subnet.manifest.weights_root,
            profile: route.profile.digest(),
            exact: kernel.is_exact(),
            hidden: subnet.manifest.config.hidden_size,
            dtype: route.profile.activations,
            max_positions: positions,
            open_timeout: self.options.open_timeout,
            session_patience: self.options.session_patience,
            step_timeout: self.options.step_timeout,
            ledger: ledger.clone(),
            peers: self.peers.clone(),
        });
        let parts = Parts {
            context,
            blocks: subnet.manifest.config.blocks,
            servers: route.servers,
            primaries: route.primaries,
            wish,
            bans: self.bans.clone(),
            tolerance: tolerance(kernel),
            push: self.options.push,
            rng,
        };
        let mut answer = Answer {
            text: String::new(),
            tokens: Vec::new(),
            prompt,
            finish: Finish::Interrupted,
            opened: Instant::now(),
            first: None,
            last: None,
            reported: 0,
            drafted: Drafted::default(),
        };
        let mut failovers = Vec::new();
        let result = match ChainOfServers::connect(parts).await {
            Ok(mut chain) => {
                let prompt_tokens = answer.prompt.len();
                answer.opened = Instant::now();
                sink(Event::Opened {
                    session,
                    prompt_tokens,
                    route: &named,
                });
                let sampling = nonce.sampling(&request.sampling);
                let (most, cancel) = (request.sampling.max_tokens, &request.cancel);
                let result = self
                    .answer(&mut chain, &mut answer, sampling, most, cancel, sink)
                    .await;
                // Those that live are paid to the last position, also after a failure.
                chain.finish().await;
                failovers = chain.failovers().to_vec();
                result
            }
            Err(broken) => Err(broken),
        };
        if let Err(Broken::Unreliable { position, .. }) = &result {
            answer.distrust(*position, self.ends.text_stream());
        }
        let settled = self.settle(&ledger).await;
        let generation = answer.into_generation(&ledger.lock(), started, failovers, &settled);
        match (result, settled) {
            (Err(reason), settled) => {
                if let Err(error) = settled {
                    warn!(session, %error, "the session that broke off is not settled");
                }
                Err(ClientError::Interrupted {
                    reason,
                    partial: Box::new(generation),
                })
            }
            (Ok(()), Err(source)) => Err(ClientError::Unsettled {
                session,
                source,
                generation: Box::new(generation),
            }),
            (Ok(()), Ok(_)) => Ok(generation),
        }
    }

    /// Leads the prompt and one chosen token after the other through the chain, with guesses at those
    /// that follow.
    async fn answer(
        &self,
        chain: &mut ChainOfServers,
        answer: &mut Answer,
        sampling: Sampling,
        most: u32,
        cancel: &CancellationToken,
        sink: &mut (impl FnMut(Event<'_>) + Send),
    ) -> Result<(), Broken> {
        let mut text = self.ends.text_stream();
        let mut rows = None;
        let mut rest: &[u32] = &answer.prompt.clone();
        while !rest.is_empty() {
            if cancel.is_cancelled() {
                answer.finish = Finish::Cancelled;
                return Ok(());
            }
            let (now, later) = rest.split_at(rest.len().min(PROMPT_PART));
            rest = later;
            let input = self.embed(now, chain.dtype()).await?;
            let row = chain.prompt(&input).await;
            self.report_failovers(chain, answer, sink);
            rows = Some(row?);
        }
        let mut guesses: Vec<u32> = Vec::new();
        let mut pace = Pace::new(self.options.draft);
        while let Some(output) = rows.take() {
            let position = answer.position();
            let chosen = self.choose(output, &guesses, &sampling, position).await?;
            // Tokens behind which the answer goes on.
            let mut counted: u32 = 0;
            for token in chosen {
                answer.tokens.push(token);
                answer.last = Some(Instant::now());
                answer.first = answer.first.or(answer.last);
                let piece = match self.ends.is_end(token) {
                    true => String::new(),
                    false => text.push(token),
                };
                answer.text.push_str(&piece);
                sink(Event::Token {
                    id: token,
                    text: &piece,
                });
                if self.ends.is_end(token) {
                    answer.finish = Finish::Stop;
                } else if answer.tokens.len() as u32 >= most {
                    answer.finish = Finish::Length;
                } else if cancel.is_cancelled() {
                    answer.finish = Finish::Cancelled;
                } else {
                    counted += 1;
                    continue;
                }
                break;
            }
            // The last token of the round was not guessed; that of the answer was not led through the
            // servers, or does not count as such.
            let is_over = answer.finish != Finish::Interrupted;
            let right = counted.saturating_sub(u32::from(!is_over));
            chain.keep(right);
            pace.learn(guesses.len() as u32, right);
            answer.drafted = pace.total;
            if !is_over {
                let left = most.saturating_sub(answer.tokens.len() as u32 + 1);
                let room = chain.room_for_drafts().min(left).min(pace.next());
                guesses = self.guess(answer, room).await?;
                let sure = answer.tokens.last().copied();
                let tokens: Vec<u32> = sure.into_iter().chain(guesses.iter().copied()).collect();
                let input = self.embed(&tokens, chain.dtype()).await?;
                let output = chain.step(&input, guesses.len() as u32).await;
                self.report_failovers(chain, answer, sink);
                rows = Some(output?);
            }
        }
        answer.text.push_str(&text.finish());
        Ok(())
    }

    /// Guesses at most `most` tokens that follow on the answer: tokens of the model, and none behind
    /// which an answer ends.
    async fn guess(&self, answer: &Answer, most: u32) -> Result<Vec<u32>, Broken> {
        if most == 0 {
            return Ok(Vec::new());
        }
        let (drafter, ends) = (self.drafter.clone(), self.ends.clone());
        let tokens = [&answer.prompt[..], &answer.tokens].concat();
        let guesses = blocking(move || {
            let vocabulary = ends.config().vocab_size;
            let guesses = drafter.draft(&tokens, most as usize).into_iter();
            let usable = |token: &u32| *token < vocabulary && !ends.is_end(*token);
            Ok(guesses.take(most as usize).take_while(usable).collect())
        });
        Ok(guesses.await?)
    }

    /// What goes into the first block for these tokens.
    async fn embed(&self, tokens: &[u32], dtype: DType) -> Result<Activations, Broken> {
        let ends = self.ends.clone();
        let embed = move |tokens: &[u32]| {
            let rows = ends.embed(tokens)?;
            Activations::rounded(&rows, ends.config().hidden_size, dtype)
                .map_err(|error| EndsError::Compute(error.to_string()))
        };
        // A few rows are there before another thread could have begun.
        if tokens.len() <= 1 + MAX_DRAFTED as usize {
            return Ok(embed(tokens)?);
        }
        let tokens = tokens.to_vec();
        Ok(blocking(move || embed(&tokens)).await?)
    }

    fn report_failovers(
        &self,
        chain: &ChainOfServers,
        answer: &mut Answer,
        sink: &mut (impl FnMut(Event<'_>) + Send),
    ) {
        for failover in chain.failovers().iter().skip(answer.reported) {
            sink(Event::FailedOver(failover));
        }
        answer.reported = chain.failovers().len();
    }

    /// The tokens that `rows` give, the first at `position`. There is a row in front of each guess and
    /// one behind the last; those behind a wrong guess give nothing.
    async fn choose(
        &self,
        rows: Activations,
        guesses: &[u32],
        sampling: &Sampling,
        position: u64,
    ) -> Result<Vec<u32>, Broken> {
        let (ends, sampling, guesses) = (self.ends.clone(), sampling.clone(), guesses.to_vec());
        let tokens = blocking(move || {
            let failed = |error: &dyn std::fmt::Display| EndsError::Compute(error.to_string());
            let width = rows.header.hidden as usize;
            let rows = rows.to_f32().map_err(|error| failed(&error))?;
            let mut tokens = Vec::with_capacity(1 + guesses.len());
            for (row, position) in rows.chunks(width.max(1)).zip(position..) {
                let token = sampling
                    .sample(&ends.logits(row)?, position)
                    .map_err(|error| failed(&error))?;
                let is_guessed = guesses.get(tokens.len()) == Some(&token);
                tokens.push(token);
                if !is_guessed || ends.is_end(token) {
                    break;
                }
            }
            Ok(tokens)
        });
        Ok(tokens.await?)
    }

    /// The subnet, if it serves this client's model now.
    async fn subnet(&self, id: SubnetId) -> Result<SubnetInfo<AccountBytes>, ClientError> {
        let subnet = self
            .chain
            .subnet(id)
            .await?
            .ok_or(ClientError::NoSubnet(id))?;
        let (manifest, digests) = (&subnet.manifest, self.ends.digests());
        let comparisons = [
            ("its shape", manifest.config == *self.ends.config()),
            (
                "the embedding",
                manifest.embedding_digest == digests.embedding,
            ),
            ("the head", manifest.head_digest == digests.head),
            (
                "the tokenizer",
                manifest.tokenizer_digest == digests.tokenizer,
            ),
        ];
        if let Some((what, _)) = comparisons.iter().find(|(_, same)| !same) {
            return Err(ClientError::WrongModel { subnet: id, what });
        }
        if let Some(why) = Inactive::of(&subnet) {
            return Err(ClientError::Inactive { subnet: id, why });
        }
        Ok(subnet)
    }

    /// Settles a session with everything its ledger holds.
    pub(crate) async fn settle(&self, ledger: &Mutex<Ledger>) -> Result<Settlement, ChainError> {
        let (session, vouchers, receipt_root) = {
            let ledger = ledger.lock();
            (ledger.session(), ledger.vouchers(), ledger.root())
        };
        let call = Call::Settle {
            session,
            vouchers,
            receipt_root,
        };
        let settlement = match self.chain.submit(self.signer.as_ref(), call).await {
            Ok(included) => Settlement {
                block: included.number,
                hash: Some(included.hash),
            },
            // It may have been settled all the same: the chain's record tells.
            Err(error) => match self.chain.session(session).await {
                Ok(Some(info))
                    if info.status != SessionStatus::Open
                        && info.receipt_root == Some(receipt_root) =>
                {
                    Settlement {
                        block: info.settled_at.unwrap_or_default(),
                        hash: None,
                    }
                }
                _ => return Err(error),
            },
        };
        self.open.lock().remove(&session);
        info!(session, block = settlement.block, "session settled");
        Ok(settlement)
    }

    /// Sessions of this client that are not settled: generations under way, dropped ones, and
    /// those whose settlement failed.
    pub fn unsettled(&self) -> Vec<SessionId> {
        self.open.lock().keys().copied().collect()
    }

    /// Settles a session that a dropped or failed [`Client::generate`] left open, with what was
    /// verified and paid by then. The servers keep what they were promised, and the rest of the
    /// deposit comes back.
    pub async fn abort(&self, session: SessionId) -> Result<Settlement, ClientError> {
        let ledger = self.open.lock().get(&session).cloned();
        let ledger = ledger.ok_or(ClientError::UnknownSession(session))?;
        Ok(self.settle(&ledger).await?)
    }
}

/// Most positions of the sequence: the last token is chosen, but never led through the servers.
fn positions(
    subnet: &SubnetInfo<AccountBytes>,
    prompt: &[u32],
    max_tokens: u32,
) -> Result<u32, ClientError> {
    let context = subnet.manifest.config.context_length;
    let prompt = u32::try_from(prompt.len()).unwrap_or(u32::MAX);
    if prompt == 0 {
        return Err(ClientError::EmptyPrompt);
    }
    match prompt.checked_add(max_tokens) {
        Some(total) if total <= context => Ok(total - 1),
        _ => Err(ClientError::TooLong {
            prompt,
            max_tokens,
            context,
        }),
    }
}

/// By how much honest replays of the last span may differ: the root mean square of a row's
/// difference, as a part of its own.
fn tolerance(kernel: Kernel) -> f64 {
    match kernel {
        Kernel::ReproducibleV1 => 0.0,
        Kernel::FlexF32 => 1e-3,
        Kernel::Cuda => 4e-2,
    }
}

/// Runs what takes milliseconds on a thread for blocking work.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, EndsError> + Send + 'static,
) -> Result<T, EndsError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(EndsError::Compute(error.to_string())),
    }
}

impl Answer {
    /// Position of the next token, counted from the first of the prompt.
    fn position(&self) -> u64 {
        (self.prompt.len() + self.tokens.len()) as u64
    }

    /// Drops the tokens that were chosen by what came out at `position` or later.
    fn distrust(&mut self, position: u32, mut text: Box<dyn TextStream>) {
        let chosen_before = (position as usize + 1).saturating_sub(self.prompt.len());
        self.tokens.truncate(chosen_before);
        self.text = self.tokens.iter().map(|token| text.push(*token)).collect();
        self.text.push_str(&text.finish());
    }

    fn into_generation(
        self,
        ledger: &Ledger,
        started: Instant,
        failovers: Vec<FailOver>,
        settled: &Result<Settlement, ChainError>,
    ) -> Generation {
        let end = self.last.unwrap_or(self.opened);
        let decode = self.first.map_or(Duration::ZERO, |first| end - first);
        let later = self.tokens.len().saturating_sub(1) as f64;
        let timing = Timing {
            open: self.opened - started,
            first_token: self
                .first
                .map_or(Duration::ZERO, |first| first - self.opened),
            decode,
            settle: end.elapsed(),
            decode_rate: if decode.is_zero() {
                0.0
            } else {
                later / decode.as_secs_f64()
            },
        };
        Generation {
            text: self.text,
            tokens: self.tokens,
            prompt_tokens: self.prompt,
            session: ledger.session(),
            receipt_root: ledger.root(),
            settlement: settled.as_ref().ok().copied(),
            paid: ledger.paid(),
            finish: self.finish,
            timing,
            drafted: self.drafted,
            failovers,
            abandoned: Vec::new(),
        }
    }
}
