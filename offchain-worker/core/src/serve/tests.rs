//! Stories of a server's session, and a search for one that breaks its promises.

mod bench;
mod drafts;
mod handing_on;
mod opening;
mod paying;
mod receipts;
mod sequences;
mod steps;
mod upstream;
