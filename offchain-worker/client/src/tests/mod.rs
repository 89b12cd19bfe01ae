//! The client against servers that run the real state machine of `quipu_worker_core::serve` over
//! in-memory streams, on a toy model whose bits are known. Faults are injected at exact positions.

mod chain;
mod drafting;
mod failover;
mod generation;
mod money;
mod swarm;
mod toy;
mod world;
