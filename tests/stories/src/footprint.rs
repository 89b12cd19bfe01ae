//! What of a pallet lies in storage.

use crate::Chain;
use frame_support::traits::StorageInfoTrait;
use quipu_runtime::AllPalletsWithSystem;
use std::collections::{BTreeMap, BTreeSet};

/// Every raw key under the prefixes of some pallets, with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Footprint(BTreeMap<Vec<u8>, Vec<u8>>);

impl Chain {
    /// What these pallets have in storage.
    pub fn footprint(&mut self, pallets: &[&str]) -> Footprint {
        self.read(|| {
            let mut found = BTreeMap::new();
            for pallet in pallets {
                let prefix = sp_io::hashing::twox_128(pallet.as_bytes());
                let mut next = sp_io::storage::next_key(&prefix);
                while let Some(key) = next.filter(|key| key.starts_with(&prefix)) {
                    let value = sp_io::storage::get(&key).expect("the key was just found");
                    next = sp_io::storage::next_key(&key);
                    found.insert(key, value.to_vec());
                }
            }
            Footprint(found)
        })
    }
}

impl Footprint {
    /// The storage items, as `Pallet.Item`, of which some key has come, gone or changed since.
    pub fn changes_since(&self, before: &Footprint) -> BTreeSet<String> {
        let keys: BTreeSet<_> = self.0.keys().chain(before.0.keys()).collect();
        keys.into_iter()
            .filter(|key| self.0.get(*key) != before.0.get(*key))
            .map(|key| name_of(key))
            .collect()
    }
}

/// The storage item that a raw key belongs to.
fn name_of(key: &[u8]) -> String {
    AllPalletsWithSystem::storage_info()
        .into_iter()
        .find(|item| key.starts_with(&item.prefix))
        .map(|item| {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            format!("{}.{}", text(&item.pallet_name), text(&item.storage_name))
        })
        .unwrap_or_else(|| format!("{key:02x?}"))
}
