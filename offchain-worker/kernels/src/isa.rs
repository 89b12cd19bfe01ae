//! Instruction sets, and which of them this machine has.

use std::fmt;
use std::str::FromStr;

/// A set of instructions that kernels are written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Isa {
    /// Plain Rust: the specification, and the path of every machine that has nothing better.
    Portable,
    /// x86-64 with AVX2, FMA and F16C.
    Avx2,
    /// [`Isa::Avx2`] with AVX-VNNI's byte products.
    AvxVnni,
    /// x86-64 with AVX-512 F, BW, DQ, VL and VNNI, beside what [`Isa::Avx2`] has.
    Avx512,
    /// AArch64 with NEON.
    Neon,
    /// [`Isa::Neon`] with the byte products of its `dotprod` extension.
    NeonDot,
}

/// An instruction set that can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IsaError {
    /// This machine lacks it.
    #[error("this machine can't run {0} kernels")]
    Unavailable(Isa),
    /// No instruction set has that name.
    #[error("not an instruction set; one of portable, avx2, avxvnni, avx512, neon, neondot")]
    Unknown,
}

impl Isa {
    /// The environment variable by which a user forces an instruction set. Programs read it and
    /// give what it holds to [`Isa::choose`]; this crate reads no environment.
    pub const VARIABLE: &'static str = "QUIPU_ISA";

    /// All of them, the fastest first.
    const ALL: [Self; 6] = [
        Self::Avx512,
        Self::AvxVnni,
        Self::Avx2,
        Self::NeonDot,
        Self::Neon,
        Self::Portable,
    ];

    /// The fastest one that this machine has.
    pub fn detect() -> Self {
        let best = Self::ALL.into_iter().find(|isa| isa.is_available());
        best.unwrap_or(Self::Portable)
    }

    /// Those that this machine has, the fastest first; the portable one always ends the list.
    pub fn available() -> Vec<Self> {
        let all = Self::ALL.into_iter();
        all.filter(|isa| isa.is_available()).collect()
    }

    /// What a user asked for by [`Isa::VARIABLE`], or the fastest where nothing was asked for.
    ///
    /// # Errors
    /// The name is none of an instruction set, or this machine lacks it.
    pub fn choose(asked: Option<&str>) -> Result<Self, IsaError> {
        let Some(name) = asked.filter(|name| !name.is_empty()) else {
            return Ok(Self::detect());
        };
        let isa: Self = name.parse()?;
        match isa.is_available() {
            true => Ok(isa),
            false => Err(IsaError::Unavailable(isa)),
        }
    }

    /// Whether this machine has it.
    pub fn is_available(self) -> bool {
        match self {
            Self::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => x86::avx2(),
            #[cfg(target_arch = "x86_64")]
            Self::AvxVnni => x86::avx2() && std::arch::is_x86_feature_detected!("avxvnni"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => x86::avx2() && x86::avx512(),
            #[cfg(target_arch = "aarch64")]
            Self::Neon => std::arch::is_aarch64_feature_detected!("neon"),
            #[cfg(target_arch = "aarch64")]
            Self::NeonDot => {
                Self::Neon.is_available() && std::arch::is_aarch64_feature_detected!("dotprod")
            }
            _ => false,
        }
    }

    /// Its name, as [`Isa::VARIABLE`] spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Avx2 => "avx2",
            Self::AvxVnni => "avxvnni",
            Self::Avx512 => "avx512",
            Self::Neon => "neon",
            Self::NeonDot => "neondot",
        }
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Isa {
    type Err = IsaError;

    fn from_str(name: &str) -> Result<Self, IsaError> {
        let mut all = Self::ALL.into_iter();
        all.find(|isa| isa.name() == name).ok_or(IsaError::Unknown)
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::is_x86_feature_detected as has;

    pub fn avx2() -> bool {
        has!("avx2") && has!("fma") && has!("f16c")
    }

    pub fn avx512() -> bool {
        has!("avx512f")
            && has!("avx512bw")
            && has!("avx512dq")
            && has!("avx512vl")
            && has!("avx512vnni")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back() {
        for isa in Isa::ALL {
            assert_eq!(isa.to_string().parse(), Ok(isa));
        }
        assert_eq!("sse9".parse::<Isa>(), Err(IsaError::Unknown));
    }

    #[test]
    fn the_best_is_chosen_unless_another_is_asked_for() {
        assert_eq!(Isa::choose(None), Ok(Isa::available()[0]));
        assert_eq!(Isa::choose(Some("")), Ok(Isa::detect()));
        assert_eq!(Isa::choose(Some("portable")), Ok(Isa::Portable));
        assert_eq!(Isa::available().last(), Some(&Isa::Portable));
    }

    #[test]
    fn what_the_machine_lacks_is_refused() {
        let lacking = Isa::ALL.into_iter().find(|isa| !isa.is_available());
        let lacking = lacking.expect("no machine has NEON and AVX");
        let refused = Err(IsaError::Unavailable(lacking));
        assert_eq!(Isa::choose(Some(lacking.name())), refused);
    }
}
