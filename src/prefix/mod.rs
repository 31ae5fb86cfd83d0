//! Which prompts begin alike: hashes of a prompt's blocks.
//!
//! A model server keeps the KV cache of prompts it has seen, in blocks, and serves a prompt that
//! begins like an earlier one faster. What a picker needs for that is a short name for each
//! beginning. A [`BlockHasher`] cuts a prompt into blocks of a fixed number of bytes and hashes
//! each together with all before it, so that two prompts share exactly the hashes of the blocks
//! up to their first difference.
//!
//! With `‖` for concatenation and `xxh64(bytes; seed)` for
//! [XXH64](https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md):
//!
//! ```text
//! c_0 = 0
//! c_i = xxh64(bytes of block i; c_(i-1))
//! h_i = xxh64(c_i as 8 bytes; root)                                 BlockHash::within
//!
//! root = xxh64(part(model) ‖ part(adapter) ‖ part(cache salt); 0)   Scope::root
//! part(none) = 00        part(text) = 01 ‖ length as 8 bytes ‖ text
//! ```
//!
//! Numbers are little-endian. A chain starts from nothing ([`BlockHash::NEUTRAL`]), and what it is of
//! is put in afterwards: a body may name its model behind its prompt.
//!
//! A prompt of several parts has a chain for each, as a body may have them in any order. The root of
//! the first is that of the scope; the root of the next stands for all before it:
//!
//! ```text
//! digest = xxh64(bytes behind the last whole block; c_n)            BlockHasher::digest
//! root of the next part = xxh64(digest as 8 bytes; root)
//! ```
//!
//! The idea, and the hash, are those of the Endpoint Picker's approximate prefix cache. The chain
//! differs: the hash before is the seed of the next instead of being hashed behind the block,
//! which mixes it into every lane and needs no bytes put together. The parts carry their lengths,
//! so that no model with a salt is another model without.
//!
//! XXH64 is no cryptographic hash. A client that builds two prompts with one hash wins a worse
//! choice of endpoint for itself: nothing of a prompt is ever read back from a hash.
//!
//! ```
//! use core::num::NonZeroUsize;
//! use endpoint_picker::prefix::{BlockHasher, Blocks, Scope};
//!
//! let blocks = Blocks { size: NonZeroUsize::new(8).unwrap(), limit: 2048 };
//! let root = Scope { model: Some("llama"), ..Scope::default() }.root();
//! let hashes = |prompt: &str| {
//!     let mut hashes = Vec::new();
//!     BlockHasher::new(root, blocks).update(prompt.as_bytes(), |hash| hashes.push(hash));
//!     hashes
//! };
//!
//! let (one, other) = (hashes("Be brief. Why?"), hashes("Be brief. Say where, then when."));
//! assert_eq!((one.len(), other.len()), (1, 3));
//! assert_eq!(one[0], other[0]);
//! ```

mod block_hasher;
mod scope;

pub use block_hasher::{BlockHash, BlockHasher, Blocks};
pub use scope::Scope;
