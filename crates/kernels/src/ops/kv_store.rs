//! Puts new keys and values into their pages.

use crate::Runtime;
use crate::isa::{Kernel, MOST_LANES, Simd};
use crate::kv::{KvArena, KvPart, KvSpan, PAGE_LEN, StripMut};

/// Stores the rows of `k` and `v`, both `[T, Hkv, Dh]`, at the positions of `spans`. Elements are stored as computed, or
/// rounded to half precision, ties to even.
///
/// # Panics
/// When a span reaches outside of the rows, the layer or its pages.
pub fn kv_store(runtime: &Runtime, arena: &mut KvArena, layer: usize, k: &[f32], v: &[f32], spans: &[KvSpan<'_>]) {
    assert_eq!(k.len(), v.len(), "kv_store: k and v have one shape");
    let (kv_heads, head_dim) = (arena.shape().kv_heads, arena.shape().head_dim);
    let row_len = kv_heads * head_dim;
    arena.for_each_head(runtime, k.len(), |part, head, mut strips| {
        let source = match part {
            KvPart::Keys => k,
            KvPart::Values => v,
        };
        for span in spans {
            for index in 0..span.len {
                let row = &source[(span.row + index) * row_len + head * head_dim..][..head_dim];
                let position = span.position + index;
                let page = span.pages[position / PAGE_LEN];
                let strip = strips.strip(layer, page);
                runtime.vectorize(Write { strip, part, offset: position % PAGE_LEN, row });
            }
        }
    });
}

/// Writes one head's row `[Dh]` of one position.
struct Write<'a> {
    strip: StripMut<'a>,
    part: KvPart,
    /// The position's place in its page.
    offset: usize,
    row: &'a [f32],
}

impl Kernel for Write<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let (start, step) = match self.part {
            KvPart::Keys => (self.offset, PAGE_LEN),
            KvPart::Values => (self.offset * self.row.len(), 1),
        };
        match self.strip {
            StripMut::F32(strip) => put(&mut strip[start..], step, self.row),
            StripMut::F16(strip) => {
                let mut halves = [0; MOST_LANES];
                let chunks = strip[start..].chunks_mut(step * S::LANES);
                for (strip, row) in chunks.zip(self.row.chunks(S::LANES)) {
                    // SAFETY: the buffer has room for the lanes of any vector.
                    unsafe { simd.store_f16(simd.load_slice(row), halves.as_mut_ptr()) }
                    put(strip, step, &halves[..row.len()]);
                }
            }
        }
    }
}

/// Writes a row to every `step`th element.
#[inline(always)]
fn put<T: Copy>(strip: &mut [T], step: usize, row: &[T]) {
    if step == 1 {
        strip[..row.len()].copy_from_slice(row);
    } else {
        for (to, &from) in strip.iter_mut().step_by(step).zip(row) {
            *to = from;
        }
    }
}
