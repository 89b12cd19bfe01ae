//! The runtime's calls, events and APIs, generated from its committed metadata.

#[subxt::subxt(
    runtime_metadata_path = "metadata/quipu.scale",
    derive_for_all_types = "Clone, PartialEq, Eq",
    substitute_type(
        path = "quipu_primitives::manifest::Manifest",
        with = "::subxt::utils::Static<::quipu_primitives::Manifest>"
    ),
    substitute_type(
        path = "quipu_primitives::span::Span",
        with = "::subxt::utils::Static<::quipu_primitives::Span>"
    ),
    substitute_type(
        path = "quipu_primitives::session::Voucher",
        with = "::subxt::utils::Static<::quipu_primitives::Voucher>"
    ),
    substitute_type(
        path = "quipu_primitives::job::FinishReason",
        with = "::subxt::utils::Static<::quipu_primitives::job::FinishReason>"
    ),
    substitute_type(
        path = "quipu_primitives::views::SubnetInfo<A>",
        with = "::subxt::utils::Static<::quipu_primitives::views::SubnetInfo<A>>"
    ),
    substitute_type(
        path = "quipu_primitives::views::NodeInfo<A>",
        with = "::subxt::utils::Static<::quipu_primitives::views::NodeInfo<A>>"
    ),
    substitute_type(
        path = "quipu_primitives::views::SessionInfo<A>",
        with = "::subxt::utils::Static<::quipu_primitives::views::SessionInfo<A>>"
    ),
    substitute_type(
        path = "quipu_primitives::views::JobInfo<A>",
        with = "::subxt::utils::Static<::quipu_primitives::views::JobInfo<A>>"
    ),
    substitute_type(
        path = "quipu_primitives::audit::Finding",
        with = "::subxt::utils::Static<::quipu_primitives::audit::Finding>"
    ),
    substitute_type(
        path = "quipu_primitives::audit::Subject",
        with = "::subxt::utils::Static<::quipu_primitives::audit::Subject>"
    ),
    substitute_type(
        path = "quipu_primitives::views::AuditInfo<A>",
        with = "::subxt::utils::Static<::quipu_primitives::views::AuditInfo<A>>"
    ),
    substitute_type(
        path = "quipu_primitives::economy::SupplyInfo<A>",
        with = "::subxt::utils::Static<::quipu_primitives::economy::SupplyInfo<A>>"
    ),
    substitute_type(
        path = "quipu_primitives::economy::StakeIncome",
        with = "::subxt::utils::Static<::quipu_primitives::economy::StakeIncome>"
    ),
    substitute_type(
        path = "quipu_primitives::views::PoolInfo",
        with = "::subxt::utils::Static<::quipu_primitives::views::PoolInfo>"
    ),
    substitute_type(
        path = "quipu_primitives::views::DelegationInfo",
        with = "::subxt::utils::Static<::quipu_primitives::views::DelegationInfo>"
    ),
    substitute_type(
        path = "quipu_primitives::economy::QuotaInfo",
        with = "::subxt::utils::Static<::quipu_primitives::economy::QuotaInfo>"
    ),
    substitute_type(
        path = "quipu_primitives::views::Quote",
        with = "::subxt::utils::Static<::quipu_primitives::views::Quote>"
    ),
    substitute_type(
        path = "quipu_primitives::views::QuoteError",
        with = "::subxt::utils::Static<::quipu_primitives::views::QuoteError>"
    )
)]
pub mod api {}
