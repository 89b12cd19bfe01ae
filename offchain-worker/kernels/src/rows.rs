//! Rows of several buffers, shared out among threads.

use crate::Kernels;

/// Buffers whose rows threads write to.
struct Buffers<'a, const N: usize> {
    starts: [*mut f32; N],
    widths: [usize; N],
    life: std::marker::PhantomData<&'a mut [f32]>,
}

// SAFETY: it stands for unique borrows of numbers, and `row` gives out each row once.
unsafe impl<const N: usize> Sync for Buffers<'_, N> {}

impl<'a, const N: usize> Buffers<'a, N> {
    /// The `row`-th row of each buffer.
    ///
    /// # Safety
    ///
    /// The buffers have that row, and nobody else has it now.
    unsafe fn row(&self, row: usize) -> [&'a mut [f32]; N] {
        std::array::from_fn(|n| {
            let width = self.widths[n];
            // SAFETY: by the function's contract the row is within the buffer and not borrowed.
            unsafe { std::slice::from_raw_parts_mut(self.starts[n].add(row * width), width) }
        })
    }
}

impl Kernels {
    /// Calls `work` with the number of each row and that row of every buffer, on all threads where
    /// there are enough rows. A buffer is given with its row's width; all have as many rows as the
    /// first.
    ///
    /// # Panics
    ///
    /// If a width is 0, or the buffers don't have equally many whole rows.
    pub fn for_each_row<const N: usize>(
        &self,
        buffers: [(&mut [f32], usize); N],
        work: impl Fn(usize, [&mut [f32]; N]) + Sync,
    ) {
        let rows = buffers
            .first()
            .map_or(0, |(buffer, width)| buffer.len() / width);
        for (buffer, width) in &buffers {
            assert_eq!(buffer.len(), rows * width, "equally many whole rows");
        }
        let widths = buffers.each_ref().map(|(_, width)| *width);
        let starts = buffers.map(|(buffer, _)| buffer.as_mut_ptr());
        let life = std::marker::PhantomData;
        let buffers = Buffers {
            starts,
            widths,
            life,
        };
        // A row is a few hundred nanoseconds' work, about what it takes to share it.
        let parts = (rows / ROWS_OF_A_PART).clamp(1, 4 * self.pool().threads());
        self.pool().run(parts, |part| {
            for row in part * rows / parts..(part + 1) * rows / parts {
                // SAFETY: the buffers are borrowed until all parts are done, and have `rows` rows;
                // no row is in two parts.
                work(row, unsafe { buffers.row(row) });
            }
        });
    }
}

/// Fewer rows are not worth another thread.
const ROWS_OF_A_PART: usize = 4;

#[cfg(test)]
mod tests {
    use crate::{Isa, Kernels};

    #[test]
    fn every_row_is_worked_on_once() {
        for threads in 1..=3 {
            let kernels = Kernels::new(Isa::Portable, threads).unwrap();
            for rows in [0, 1, 7, 33] {
                let (mut a, mut b) = (vec![1.0; rows * 3], vec![1.0; rows * 2]);
                kernels.for_each_row([(&mut a, 3), (&mut b, 2)], |row, [a, b]| {
                    a.iter_mut().for_each(|x| *x += row as f32);
                    b[1] += a[0];
                });
                for row in 0..rows {
                    assert_eq!(a[row * 3..][..3], [1.0 + row as f32; 3]);
                    assert_eq!(b[row * 2..][..2], [1.0, 2.0 + row as f32]);
                }
            }
        }
    }

    #[test]
    #[should_panic = "equally many whole rows"]
    fn uneven_buffers_are_refused() {
        let kernels = Kernels::new(Isa::Portable, 1).unwrap();
        kernels.for_each_row([(&mut [0.0; 6], 3), (&mut [0.0; 3], 2)], |_, _| ());
    }
}
