//! Errors answer two questions: can this go on, and whose fault is it?

/// Who made an error happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The peer that we talk to: score it down.
    Peer,
    /// The person or program that asked: tell them what to change.
    Caller,
    /// Ourselves or our machine.
    Ours,
    /// Something between: the chain's endpoint, the network. Try again.
    Environment,
}

/// An error that knows its class.
pub trait Classified: std::error::Error {
    /// Must the process, session or stream that met this error end?
    fn is_fatal(&self) -> bool;
    /// Whose fault is it?
    fn fault(&self) -> Fault;
}
