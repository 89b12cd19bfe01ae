//! The cheapest chain of seats.

use super::State;
use quipu_primitives::{
    cost,
    views::{Quote, QuoteError},
    SubnetId,
};

impl State {
    pub(super) fn quote(&self, subnet: SubnetId, positions: u32) -> Result<Quote, QuoteError> {
        let info = self
            .subnet_info(subnet)
            .filter(|info| info.status.is_active());
        let config = info.ok_or(QuoteError::SubnetNotActive)?.manifest.config;
        if positions > config.context_length {
            return Err(QuoteError::ContextExceeded);
        }
        let blocks = usize::from(config.blocks);
        let mut best: Vec<Option<Quote>> = vec![None; blocks + 1];
        best[0] = Some(Quote {
            total: 0,
            route: Vec::new(),
        });
        for block in 0..blocks {
            let Some(here) = best[block].clone() else {
                continue;
            };
            for node in self.roster(subnet) {
                let Some(seat) = &node.seat else { continue };
                if usize::from(seat.span.start) != block {
                    continue;
                }
                let part =
                    cost(seat.price, seat.span.len(), positions).ok_or(QuoteError::Overflow)?;
                let total = here.total.checked_add(part).ok_or(QuoteError::Overflow)?;
                let there = &mut best[usize::from(seat.span.end)];
                if there.as_ref().is_none_or(|known| total < known.total) {
                    let mut route = here.route.clone();
                    route.push((node.id, part));
                    *there = Some(Quote { total, route });
                }
            }
        }
        best.swap_remove(blocks).ok_or(QuoteError::NoRoute)
    }
}
