//! Amounts, accounts, peers and types as people write them.

use clap::ValueEnum;
use quipu_chain::{parse_account, Keypair};
use quipu_network::PeerId;
use quipu_primitives::{
    money::{DECIMALS, QPU},
    AccountBytes, Balance, DType, InQpu, Kernel,
};
use quipu_worker_core::Signer;
use std::{fmt, str::FromStr};

/// An amount: `10000` in the smallest unit, or with a unit such as `1.5QPU`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Amount(pub Balance);

const AMOUNT: &str = "an amount is written 10000, in the smallest unit, or like 1.5QPU, with at \
                      most 12 digits behind the point";

impl FromStr for Amount {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim().replace('_', "");
        let Some(number) = text
            .strip_suffix("QPU")
            .or_else(|| text.strip_suffix("qpu"))
        else {
            return digits(&text).map(Amount).ok_or(AMOUNT);
        };
        let number = number.trim();
        let (whole, rest) = number.split_once('.').unwrap_or((number, "0"));
        if rest.len() > DECIMALS {
            return Err(AMOUNT);
        }
        let fraction = format!("{rest:0<DECIMALS$}");
        let amount = digits(whole)
            .and_then(|whole| whole.checked_mul(QPU))
            .zip(digits(&fraction).filter(|_| !rest.is_empty()))
            .and_then(|(whole, fraction)| whole.checked_add(fraction));
        amount.map(Amount).ok_or(AMOUNT)
    }
}

fn digits(text: &str) -> Option<Balance> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok())?
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        InQpu(self.0).fmt(f)
    }
}

/// A share as people write it, in per cent with at most seven digits behind the point: `12.5`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Percent {
    /// In parts of 10⁹.
    pub parts: u32,
}

const PERCENT: &str =
    "a share is written in per cent, such as 12.5: from 0 to 100, with at most 7 digits \
                       behind the point";

impl FromStr for Percent {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const DIGITS: usize = 7;
        let text = text.trim();
        let text = text.strip_suffix('%').unwrap_or(text).trim();
        let (whole, rest) = text.split_once('.').unwrap_or((text, "0"));
        if rest.is_empty() || rest.len() > DIGITS {
            return Err(PERCENT);
        }
        let parts = digits(whole)
            .and_then(|whole| whole.checked_mul(10_000_000))
            .zip(digits(&format!("{rest:0<DIGITS$}")))
            .and_then(|(whole, rest)| whole.checked_add(rest))
            .filter(|parts| *parts <= 1_000_000_000)
            .and_then(|parts| parts.try_into().ok());
        parts.map(|parts| Percent { parts }).ok_or(PERCENT)
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.parts / 10_000_000, self.parts % 10_000_000);
        let rest = format!("{rest:07}");
        match rest.trim_end_matches('0') {
            "" => write!(f, "{whole} %"),
            rest => write!(f, "{whole}.{rest} %"),
        }
    }
}

/// An account: SS58, 64 hex digits with or without 0x, or a development key such as `//Alice`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account(pub AccountBytes);

impl FromStr for Account {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        let hex = text.strip_prefix("0x").unwrap_or(text);
        let mut bytes = AccountBytes::default();
        if hex::decode_to_slice(hex, &mut bytes).is_ok() {
            return Ok(Account(bytes));
        }
        let development = || {
            let key = text
                .starts_with("//")
                .then(|| Keypair::from_uri(text).ok())??;
            Some(key.public())
        };
        parse_account(text).or_else(development).map(Account).ok_or(
            "an account is written in SS58 (5Grwva…), as 0x and 64 hex digits, or as a \
             development key such as //Alice",
        )
    }
}

/// A libp2p peer id: text (`12D3Koo…`), or its multihash in hex.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer(pub Vec<u8>);

impl FromStr for Peer {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        let hex = text
            .strip_prefix("0x")
            .and_then(|hex| hex::decode(hex).ok());
        let peer = match hex {
            Some(bytes) => PeerId::from_bytes(&bytes).ok(),
            None => text.parse::<PeerId>().ok(),
        };
        peer.map(|peer| Peer(peer.to_bytes()))
            .ok_or("a peer id is what `quipu-worker id` prints: 12D3Koo…, or its multihash in hex")
    }
}

/// A family of kernels, as people write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum KernelName {
    /// Burn's flex backend on a CPU, in f32.
    FlexF32,
    /// The reproducible CPU kernels.
    ReproducibleV1,
    /// Burn's CUDA backend.
    Cuda,
}

impl From<KernelName> for Kernel {
    fn from(name: KernelName) -> Self {
        match name {
            KernelName::FlexF32 => Kernel::FlexF32,
            KernelName::ReproducibleV1 => Kernel::ReproducibleV1,
            KernelName::Cuda => Kernel::Cuda,
        }
    }
}

/// A type in which activations can be sent, as people write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum WireType {
    /// As they are computed.
    F32,
    /// Half of the bytes, for models none of whose activations lies beyond 65504.
    F16,
    /// Half of the bytes, of any size, rounded more coarsely than f16.
    Bf16,
}

impl From<WireType> for DType {
    fn from(name: WireType) -> Self {
        match name {
            WireType::F32 => DType::F32,
            WireType::F16 => DType::F16,
            WireType::Bf16 => DType::Bf16,
        }
    }
}

/// Bytes as 0x and hex digits.
pub fn show_hex(bytes: &[u8]) -> String {
    format!("0x{}", hex::encode(bytes))
}

/// A peer id on chain, as people read it.
pub fn show_peer(bytes: &[u8]) -> String {
    PeerId::from_bytes(bytes).map_or_else(|_| show_hex(bytes), |peer| peer.to_string())
}

/// Bytes of the chain that should be text.
pub fn show_text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
