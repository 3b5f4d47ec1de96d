//! The memory of attention: keys and values of every position, in pages, for all layers of one model.
//!
//! Layout: `[layers, pages, 2, Hkv]` strips, keys before values. A key strip is `[Dh, PAGE_LEN]`, so that the scores of a
//! page's positions come out side by side in a vector; a value strip is `[PAGE_LEN, Dh]`. Where elements are bytes, a
//! position's row `[Dh]` has a scale for every [`SCALED`] of them, and the scales `[ceil(Dh / SCALED), PAGE_LEN]` of a strip
//! stand behind its bytes, positions side by side too. Integers of sixteen bits lie in pairs, as dot products take them: keys
//! `[ceil(Dh / 2), PAGE_LEN]` pairs of dimensions, values `[PAGE_LEN / 2, Dh]` pairs of positions; the scales `[PAGE_LEN]` of a
//! strip stand behind. Which sequence owns a page is the engine's business.
//! Next: `ops/kv_store.rs` writes it, `ops/attention.rs` reads it.

use std::marker::PhantomData;

use crate::memory::{Memory, Pages};
use crate::{KernelError, Runtime};

/// Positions in a page. Attention adds up page by page, so this is part of the order of additions.
pub const PAGE_LEN: usize = 32;

/// Elements of a row that share a scale where they are stored as bytes; fewer at the end of a row that is no multiple.
pub(crate) const SCALED: usize = 32;

/// Two integers that a dot product takes together.
pub(crate) type Pair = [i16; 2];

/// How keys and values are stored. Scores and weighted sums are f32 in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KvElement {
    /// Signed integers of sixteen bits under a scale in single precision for each head's row: half the memory and four bytes a
    /// row. Queries and weights are rounded likewise, so that products are those of integers, two in a lane: faster than with
    /// IEEE half precision, and no less exact.
    I16,
    /// IEEE single precision: as computed.
    F32,
    /// IEEE half precision, rounded to nearest even: half the memory.
    F16,
    /// Signed bytes under a scale in half precision for every 32 of a head's row: 8.5 bits each, a little more than a
    /// quarter of the memory.
    Q8_0,
}

/// Every element with the name that people give it, the default first.
const ELEMENTS: [(&str, KvElement); 4] =
    [("i16", KvElement::I16), ("f16", KvElement::F16), ("q8_0", KvElement::Q8_0), ("f32", KvElement::F32)];

impl KvElement {
    /// The names that [`KvElement::from_name`] takes.
    pub fn names() -> [&'static str; 4] {
        ELEMENTS.map(|(name, _)| name)
    }

    /// The element of that name.
    pub fn from_name(name: &str) -> Option<KvElement> {
        ELEMENTS.iter().find(|(known, _)| *known == name).map(|&(_, element)| element)
    }

    /// The name that [`KvElement::from_name`] takes.
    pub fn name(self) -> &'static str {
        let row = ELEMENTS.iter().find(|(_, element)| *element == self);
        row.expect("every element stands in the table; this is a bug").0
    }

    /// Bytes of a head's keys, or of its values, at one position: a row of `head_dim` elements. `None` if that is more
    /// than memory can address.
    pub fn row_bytes(self, head_dim: usize) -> Option<usize> {
        match self {
            KvElement::I16 => head_dim.checked_next_multiple_of(2)?.checked_mul(2)?.checked_add(4),
            KvElement::F32 => head_dim.checked_mul(4),
            KvElement::F16 => head_dim.checked_mul(2),
            KvElement::Q8_0 => head_dim.checked_add(2 * head_dim.div_ceil(SCALED)),
        }
    }
}

/// The size of an arena.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KvShape {
    /// Layers of the model.
    pub layers: usize,
    /// Pages, shared by all sequences; each holds [`PAGE_LEN`] positions of every layer.
    pub pages: usize,
    /// Positions in a page: [`PAGE_LEN`], stated for those who count in positions.
    pub page_len: usize,
    /// `Hkv`: key/value heads.
    pub kv_heads: usize,
    /// `Dh`: width of a head.
    pub head_dim: usize,
    /// How elements are stored.
    pub element: KvElement,
}

impl KvShape {
    /// Bytes of an arena of this shape; `None` if that is more than memory can address.
    pub fn bytes(&self) -> Option<usize> {
        let row_bytes = self.element.row_bytes(self.head_dim)?;
        [2, self.pages, self.page_len, self.kv_heads, row_bytes].into_iter().try_fold(self.layers, usize::checked_mul)
    }
}

/// Keys or values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KvPart {
    Keys,
    Values,
}

/// Keys and values of all layers. Its memory is taken once, here, and zeroed by the system as it is touched.
pub struct KvArena {
    shape: KvShape,
    memory: Memory,
}

impl KvArena {
    /// Takes the memory for `shape`.
    ///
    /// # Errors
    /// [`KernelError::WrongLength`] for a `page_len` other than [`PAGE_LEN`], [`KernelError::Overflow`] when the size
    /// cannot be addressed, [`KernelError::OutOfMemory`] when the system refuses it.
    pub fn new(shape: KvShape) -> Result<KvArena, KernelError> {
        let what = "the memory of keys and values";
        if shape.page_len != PAGE_LEN {
            let what = "positions in a page of keys and values";
            return Err(KernelError::WrongLength { what, expected: PAGE_LEN, got: shape.page_len });
        }
        let bytes = shape.bytes().ok_or(KernelError::Overflow { what })?;
        // Huge pages would be touched, and so taken, whole, where a short sequence needs a little of each layer.
        let memory = Memory::new(what, bytes, Pages::Small)?;
        Ok(KvArena { shape, memory })
    }

    /// The shape it was made with.
    pub fn shape(&self) -> &KvShape {
        &self.shape
    }

    /// Copies what page `from` holds, in all layers, to page `to`, which held nothing that is still wanted.
    pub fn copy_page(&mut self, from: u32, to: u32) {
        if from == to {
            return;
        }
        let row_bytes = self.shape.element.row_bytes(self.shape.head_dim).expect("counted; this is a bug");
        let page_bytes = 2 * self.shape.kv_heads * PAGE_LEN * row_bytes;
        for layer in 0..self.shape.layers {
            let start = |page| self.strip_start(layer, page, KvPart::Keys, 0);
            let (from, to) = (start(from), start(to));
            // SAFETY: the strips of one page and layer lie one behind the other, `page_bytes` of them inside the memory as
            // `strip_start` checked; two pages share none, and nobody else reads or writes while `self` is borrowed so.
            unsafe { std::ptr::copy_nonoverlapping(from.cast_const(), to, page_bytes) };
        }
    }

    /// Elements of a strip: one head's keys, or values, of one page.
    fn strip_len(&self) -> usize {
        PAGE_LEN * self.shape.head_dim
    }

    /// Pairs of a strip of integers.
    fn pairs_len(&self) -> usize {
        PAGE_LEN * self.shape.head_dim.div_ceil(2)
    }

    /// Where a strip begins.
    fn strip_start(&self, layer: usize, page: u32, part: KvPart, head: usize) -> *mut u8 {
        let shape = &self.shape;
        let page = page as usize;
        assert!(layer < shape.layers && page < shape.pages && head < shape.kv_heads, "outside of the KV arena");
        let part = match part {
            KvPart::Keys => 0,
            KvPart::Values => 1,
        };
        let row_bytes = shape.element.row_bytes(shape.head_dim).expect("counted when memory was taken; this is a bug");
        let strip = ((layer * shape.pages + page) * 2 + part) * shape.kv_heads + head;
        // SAFETY: `KvShape::bytes` counted `PAGE_LEN * row_bytes` for each strip, and the indices were checked.
        unsafe { self.memory.as_ptr().add(strip * PAGE_LEN * row_bytes) }
    }

    /// One head's keys `[Dh, PAGE_LEN]` or values `[PAGE_LEN, Dh]` of one page.
    #[inline]
    pub(crate) fn strip(&self, layer: usize, page: u32, part: KvPart, head: usize) -> Strip<'_> {
        let (start, len) = (self.strip_start(layer, page, part, head), self.strip_len());
        match self.shape.element {
            KvElement::I16 => {
                let pairs = self.pairs_len();
                // SAFETY: the strip lies inside the memory, which is zeroed or written and aligned for f32, and nobody
                // writes while `self` is borrowed: the pairs of four bytes, and the scales of four behind them.
                unsafe {
                    let elements = std::slice::from_raw_parts(start.cast(), pairs);
                    Strip::I16(elements, std::slice::from_raw_parts(start.add(4 * pairs).cast(), PAGE_LEN))
                }
            }
            KvElement::F32 => {
                // SAFETY: the strip lies inside the memory, which is zeroed or written and aligned for f32, and nobody
                // writes while `self` is borrowed.
                Strip::F32(unsafe { std::slice::from_raw_parts(start.cast(), len) })
            }
            KvElement::F16 => {
                // SAFETY: as above, with elements of two bytes.
                Strip::F16(unsafe { std::slice::from_raw_parts(start.cast(), len) })
            }
            KvElement::Q8_0 => {
                let scale_count = len.div_ceil(SCALED * PAGE_LEN) * PAGE_LEN;
                // SAFETY: as above: `len` bytes, which are an even number, and the scales of two bytes behind them.
                unsafe {
                    let bytes = std::slice::from_raw_parts(start.cast(), len);
                    Strip::Q8_0(bytes, std::slice::from_raw_parts(start.add(len).cast(), scale_count))
                }
            }
        }
    }

    /// Calls `task(part, head, strips)` for the keys and for the values of each head, on all threads if
    /// writing that many elements is worth it. Whoever has the
    /// strips of a part and head has them of all pages, so tasks never write the same strip, whatever the pages.
    pub(crate) fn for_each_head(
        &mut self,
        runtime: &Runtime,
        elements: usize,
        task: impl Fn(KvPart, usize, HeadStrips<'_>) + Sync,
    ) {
        let arena = &*self;
        runtime.run_if_worth(elements, 2 * arena.shape.kv_heads, &|index| {
            let part = if index % 2 == 0 { KvPart::Keys } else { KvPart::Values };
            let head = index / 2;
            task(part, head, HeadStrips { arena, part, head, exclusive: PhantomData });
        });
    }
}

/// A strip as it is stored.
#[derive(Clone, Copy)]
pub(crate) enum Strip<'a> {
    /// Integers, and their scales `[PAGE_LEN]`.
    I16(&'a [Pair], &'a [f32]),
    F32(&'a [f32]),
    /// The bits of half-precision numbers.
    F16(&'a [u16]),
    /// Bytes, and the bits of their scales `[ceil(Dh / SCALED), PAGE_LEN]` in half precision.
    Q8_0(&'a [i8], &'a [u16]),
}

impl Strip<'_> {
    /// Where it begins, and its bytes; scales lie behind what they scale.
    #[inline]
    pub(crate) fn place(self) -> (*const u8, usize) {
        match self {
            Strip::I16(pairs, scales) => (pairs.as_ptr().cast(), size_of_val(pairs) + size_of_val(scales)),
            Strip::F32(elements) => (elements.as_ptr().cast(), size_of_val(elements)),
            Strip::F16(elements) => (elements.as_ptr().cast(), size_of_val(elements)),
            Strip::Q8_0(bytes, scales) => (bytes.as_ptr().cast(), size_of_val(bytes) + size_of_val(scales)),
        }
    }
}

/// A strip to write.
pub(crate) enum StripMut<'a> {
    /// Integers, and their scales `[PAGE_LEN]`.
    I16(&'a mut [Pair], &'a mut [f32]),
    F32(&'a mut [f32]),
    /// The bits of half-precision numbers.
    F16(&'a mut [u16]),
    /// Bytes, and the bits of their scales `[ceil(Dh / SCALED), PAGE_LEN]` in half precision.
    Q8_0(&'a mut [i8], &'a mut [u16]),
}

/// The keys, or the values, of one head in all pages, to be written by one piece of work.
pub(crate) struct HeadStrips<'a> {
    arena: &'a KvArena,
    part: KvPart,
    head: usize,
    exclusive: PhantomData<&'a mut [f32]>,
}

impl HeadStrips<'_> {
    /// The strip of one page.
    pub(crate) fn strip(&mut self, layer: usize, page: u32) -> StripMut<'_> {
        let (start, len) = (self.arena.strip_start(layer, page, self.part, self.head), self.arena.strip_len());
        match self.arena.shape.element {
            KvElement::I16 => {
                let pairs = self.arena.pairs_len();
                // SAFETY: the strip lies inside the memory, is aligned for f32, and belongs to this part and head, which
                // `for_each_head` gave to this piece of work alone while it holds the arena exclusively: the pairs of four
                // bytes, and the scales of four behind them.
                unsafe {
                    let elements = std::slice::from_raw_parts_mut(start.cast(), pairs);
                    StripMut::I16(elements, std::slice::from_raw_parts_mut(start.add(4 * pairs).cast(), PAGE_LEN))
                }
            }
            KvElement::F32 => {
                // SAFETY: the strip lies inside the memory, is aligned for f32, and belongs to this part and head, which
                // `for_each_head` gave to this piece of work alone while it holds the arena exclusively.
                StripMut::F32(unsafe { std::slice::from_raw_parts_mut(start.cast(), len) })
            }
            KvElement::F16 => {
                // SAFETY: as above, with elements of two bytes.
                StripMut::F16(unsafe { std::slice::from_raw_parts_mut(start.cast(), len) })
            }
            KvElement::Q8_0 => {
                let scale_count = len.div_ceil(SCALED * PAGE_LEN) * PAGE_LEN;
                // SAFETY: as above: `len` bytes, which are an even number, and the scales of two bytes behind them.
                unsafe {
                    let bytes = std::slice::from_raw_parts_mut(start.cast(), len);
                    StripMut::Q8_0(bytes, std::slice::from_raw_parts_mut(start.add(len).cast(), scale_count))
                }
            }
        }
    }
}

/// Rows of a batch that are consecutive positions of one sequence.
#[derive(Debug, Clone, Copy)]
pub struct KvSpan<'a> {
    /// The first row in the batch's queries, keys and values.
    pub row: usize,
    /// Rows.
    pub len: usize,
    /// The position of the first row in its sequence.
    pub position: usize,
    /// The sequence's pages in order: position `p` lies in `pages[p / PAGE_LEN]`.
    pub pages: &'a [u32],
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_have_names() {
        assert_eq!(KvElement::names().map(KvElement::from_name), ELEMENTS.map(|(_, element)| Some(element)));
        assert_eq!(KvElement::names(), ELEMENTS.map(|(_, element)| element.name()));
        assert_eq!(KvElement::from_name("q4_0"), None);
    }

    #[test]
    fn sizes_are_counted_and_refused() {
        let shape =
            KvShape { layers: 30, pages: 64, page_len: PAGE_LEN, kv_heads: 3, head_dim: 64, element: KvElement::F16 };
        assert_eq!(shape.bytes(), Some(30 * 64 * 32 * 2 * 3 * 64 * 2));
        assert!(KvArena::new(shape).is_ok());
        let bytes = |head_dim| KvShape { head_dim, element: KvElement::Q8_0, ..shape }.bytes();
        assert_eq!(bytes(64), Some(30 * 64 * 32 * 2 * 3 * (64 + 2 * 2)));
        assert_eq!(bytes(80), Some(30 * 64 * 32 * 2 * 3 * (80 + 2 * 3)), "the last scale is that of 16");
        assert_eq!(bytes(usize::MAX), None);
        let bytes = |head_dim| KvShape { head_dim, element: KvElement::I16, ..shape }.bytes();
        assert_eq!(bytes(64), Some(30 * 64 * 32 * 2 * 3 * (2 * 64 + 4)));
        assert_eq!(bytes(5), Some(30 * 64 * 32 * 2 * 3 * (2 * 6 + 4)), "pairs are whole");
        assert_eq!(bytes(usize::MAX), None);
        let error = |shape| KvArena::new(shape).err().unwrap();
        assert!(matches!(
            error(KvShape { page_len: 16, ..shape }),
            KernelError::WrongLength { expected: 32, got: 16, .. }
        ));
        assert!(matches!(error(KvShape { pages: usize::MAX, ..shape }), KernelError::Overflow { .. }));
        // More than any address space of today: refused by the system, not an abort.
        assert!(matches!(error(KvShape { pages: 1 << 40, ..shape }), KernelError::OutOfMemory { .. }));
    }

    /// A number for each strip.
    fn number(layer: usize, page: u32, part: KvPart, head: usize) -> u8 {
        (layer * 40 + page as usize * 8 + head * 2 + usize::from(part == KvPart::Values)) as u8
    }

    #[test]
    fn a_copied_page_is_the_other_in_every_layer_and_nothing_else_changes() {
        for element in ELEMENTS.map(|(_, element)| element) {
            let shape = KvShape { layers: 3, pages: 4, page_len: PAGE_LEN, kv_heads: 2, head_dim: 40, element };
            let mut arena = KvArena::new(shape).unwrap();
            let runtime = Runtime::new(crate::Isa::detect(), 1).unwrap();
            arena.for_each_head(&runtime, 0, |part, head, mut strips| {
                for (layer, page) in (0..3).flat_map(|layer| (0..4).map(move |page| (layer, page))) {
                    let number = number(layer, page, part, head);
                    match strips.strip(layer, page) {
                        StripMut::I16(elements, scales) => {
                            elements.fill([i16::from(number); 2]);
                            scales.fill(f32::from(number));
                        }
                        StripMut::F32(strip) => strip.fill(f32::from(number)),
                        StripMut::F16(strip) => strip.fill(u16::from(number)),
                        StripMut::Q8_0(bytes, scales) => {
                            bytes.fill(number as i8);
                            scales.fill(u16::from(number));
                        }
                    }
                }
            });
            arena.copy_page(1, 3);
            arena.copy_page(2, 2);
            for (layer, page) in (0..3).flat_map(|layer| (0..4).map(move |page| (layer, page))) {
                for (part, head) in [KvPart::Keys, KvPart::Values].into_iter().flat_map(|part| [(part, 0), (part, 1)]) {
                    let held = number(layer, if page == 3 { 1 } else { page }, part, head);
                    match arena.strip(layer, page, part, head) {
                        Strip::I16(elements, scales) => {
                            assert!(elements.iter().all(|&pair| pair == [i16::from(held); 2]));
                            assert!(scales.iter().all(|&one| one == f32::from(held)));
                        }
                        Strip::F32(strip) => assert!(strip.iter().all(|&one| one == f32::from(held))),
                        Strip::F16(strip) => assert!(strip.iter().all(|&one| one == u16::from(held))),
                        Strip::Q8_0(bytes, scales) => {
                            assert!(bytes.iter().all(|&one| one == held as i8));
                            assert!(scales.iter().all(|&one| one == u16::from(held)));
                        }
                    }
                }
            }
        }
    }
}
