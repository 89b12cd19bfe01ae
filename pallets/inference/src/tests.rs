//! Stories, by what they are about. Every story ends with a check of all properties.

mod jobs;
mod payout;
mod queue;
mod quota;
mod random;
mod sessions;
mod views;
mod vouchers;
