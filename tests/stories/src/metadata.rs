//! The runtime's metadata as off-chain workers are built from it: what they use, and no more.
//!
//! Workers generate code from it, so that what is left out costs them no compilation, and may
//! change without them. Whether it fits a chain is checked against that chain's own metadata, by
//! each program, when it connects and at each call.

use codec::{Decode, Encode};
use frame_metadata::{
    v15::{PalletMetadata, RuntimeMetadataV15, StorageEntryType},
    RuntimeMetadata, RuntimeMetadataPrefixed,
};
use quipu_runtime::Runtime;
use scale_info::{
    form::{Form, PortableForm},
    TypeDef,
};
use std::collections::BTreeSet;

/// What workers know of a pallet's storage.
#[derive(Clone, Copy)]
enum Storage {
    Whole,
    Items(&'static [&'static str]),
}

/// The pallets that workers know, by their calls, events and errors, and this of their storage.
const PALLETS: [(&str, Storage); 8] = [
    ("System", Storage::Items(&["Account"])),
    ("Balances", Storage::Items(&["TotalIssuance"])),
    ("TransactionPayment", Storage::Items(&[])),
    ("Subnets", Storage::Whole),
    ("Staking", Storage::Whole),
    ("Inference", Storage::Whole),
    ("Audits", Storage::Items(&[])),
    ("Access", Storage::Items(&[])),
];

/// The runtime APIs that workers call.
const APIS: [&str; 4] = ["SubnetsApi", "InferenceApi", "EconomyApi", "AuditsApi"];

/// The metadata that is committed for workers: version 15 in SCALE, with its prefix.
pub fn for_workers() -> Vec<u8> {
    let whole = sp_io::TestExternalities::default()
        .execute_with(|| Runtime::metadata_at_version(15))
        .expect("FRAME generates version 15");
    let whole = RuntimeMetadataPrefixed::decode(&mut &whole[..]).expect("FRAME encodes metadata");
    let RuntimeMetadata::V15(mut metadata) = whole.1 else {
        panic!("not the version that was asked for");
    };
    strip(&mut metadata);
    RuntimeMetadataPrefixed::from(metadata).encode()
}

/// Leaves what [`PALLETS`] and [`APIS`] name, without documentation.
fn strip(metadata: &mut RuntimeMetadataV15) {
    metadata.pallets.retain_mut(strip_pallet);
    metadata.apis.retain(|api| APIS.contains(&&*api.name));
    assert_eq!(metadata.pallets.len(), PALLETS.len(), "a pallet is missing");
    assert_eq!(metadata.apis.len(), APIS.len(), "an API is missing");
    for api in &mut metadata.apis {
        api.docs.clear();
        for method in &mut api.methods {
            method.docs.clear();
        }
    }
    let outer = &metadata.outer_enums;
    for sum in [outer.call_enum_ty, outer.event_enum_ty, outer.error_enum_ty] {
        let sum = &mut metadata.types.types[sum.id as usize].ty.type_def;
        let TypeDef::Variant(sum) = sum else {
            panic!("a sum over all pallets is an enum: {sum:?}");
        };
        sum.variants
            .retain(|variant| storage_of(&variant.name).is_some());
    }
    for ty in &mut metadata.types.types {
        strip_docs(&mut ty.ty);
    }

    let mut used = BTreeSet::new();
    each_type(metadata, |ty| {
        used.insert(ty.id);
    });
    let moved = metadata.types.retain(|id| used.contains(&id));
    each_type(metadata, |ty| *ty = moved[&ty.id].into());
}

/// What workers know of a pallet's storage; `None` for a pallet that they don't know.
fn storage_of(pallet: &str) -> Option<Storage> {
    let known = PALLETS.iter().find(|(name, _)| *name == pallet);
    known.map(|(_, storage)| *storage)
}

/// Is the pallet one that workers know? Leaves of it what they use.
fn strip_pallet(pallet: &mut PalletMetadata<PortableForm>) -> bool {
    let Some(known) = storage_of(&pallet.name) else {
        return false;
    };
    pallet.docs.clear();
    pallet.constants.clear();
    if let Some(storage) = &mut pallet.storage {
        if let Storage::Items(items) = known {
            storage
                .entries
                .retain(|entry| items.contains(&&*entry.name));
            assert_eq!(
                storage.entries.len(),
                items.len(),
                "a storage item is missing"
            );
        }
        for entry in &mut storage.entries {
            entry.docs.clear();
        }
    }
    true
}

fn strip_docs(ty: &mut scale_info::Type<PortableForm>) {
    ty.docs.clear();
    match &mut ty.type_def {
        TypeDef::Composite(composite) => {
            for field in &mut composite.fields {
                field.docs.clear();
            }
        }
        TypeDef::Variant(sum) => {
            for variant in &mut sum.variants {
                variant.docs.clear();
                for field in &mut variant.fields {
                    field.docs.clear();
                }
            }
        }
        _ => {}
    }
}

/// Calls `visit` with every type that the metadata names outside of its list of types.
fn each_type(
    metadata: &mut RuntimeMetadataV15,
    mut visit: impl FnMut(&mut <PortableForm as Form>::Type),
) {
    for pallet in &mut metadata.pallets {
        for entry in pallet.storage.iter_mut().flat_map(|it| &mut it.entries) {
            match &mut entry.ty {
                StorageEntryType::Plain(value) => visit(value),
                StorageEntryType::Map { key, value, .. } => {
                    visit(key);
                    visit(value);
                }
            }
        }
        pallet
            .calls
            .iter_mut()
            .for_each(|calls| visit(&mut calls.ty));
        pallet
            .event
            .iter_mut()
            .for_each(|event| visit(&mut event.ty));
        pallet
            .error
            .iter_mut()
            .for_each(|error| visit(&mut error.ty));
        for constant in &mut pallet.constants {
            visit(&mut constant.ty);
        }
    }
    for method in metadata.apis.iter_mut().flat_map(|api| &mut api.methods) {
        for input in &mut method.inputs {
            visit(&mut input.ty);
        }
        visit(&mut method.output);
    }
    let extrinsic = &mut metadata.extrinsic;
    visit(&mut extrinsic.address_ty);
    visit(&mut extrinsic.call_ty);
    visit(&mut extrinsic.signature_ty);
    visit(&mut extrinsic.extra_ty);
    for extension in &mut extrinsic.signed_extensions {
        visit(&mut extension.ty);
        visit(&mut extension.additional_signed);
    }
    visit(&mut metadata.ty);
    visit(&mut metadata.outer_enums.call_enum_ty);
    visit(&mut metadata.outer_enums.event_enum_ty);
    visit(&mut metadata.outer_enums.error_enum_ty);
    for custom in metadata.custom.map.values_mut() {
        visit(&mut custom.ty);
    }
}
