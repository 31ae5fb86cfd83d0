//! Which prompts begin alike, and which endpoint has read them.
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
//!
//! # The index
//!
//! A [`PrefixIndex`] remembers to which endpoints the blocks of each prompt went, and tells how many of
//! the first blocks of another each of them therefore holds. What an endpoint holds is what it was
//! sent last, as much as fits into its KV cache, by the order of use that model servers go by. Nobody
//! is asked whether that is so: an endpoint that is seen to have [restarted] holds nothing, and for
//! the rest the guess is as good as the requests are those of this gateway.
//!
//! ```text
//! block tokens = largest KV block size of all pools, 64 to 1024                   block_tokens
//! blocks of an endpoint = min(KV blocks × KV block size / block tokens, share)    capacity
//! share = (max bytes - fixed) / (endpoints × (36 + 2 × ⌈endpoints / 64⌉)),   at most 65,535
//! fixed = 112 bytes and 72 an endpoint, somewhat less in the VM
//! ```
//!
//! An endpoint that does not tell how large its KV cache is has its share. A block takes 12 bytes in
//! the order of use of each endpoint that holds it, and 24 in the table that finds it. Up to three
//! holders stand in there; more are a set with a bit for each endpoint, of which there can be one for
//! four holders. So the default of 8 MiB is enough for 2,097 blocks of each of 100 endpoints.
//!
//! The tables are allocated once, with their first block, at the size they may have at most. They have
//! no need to grow or to be arranged anew, neither of which a request should wait for, and what they
//! take is known from the beginning.
//!
//! ```
//! use core::num::NonZeroUsize;
//! use endpoint_picker::prefix::{BlockHash, BlockHasher, Blocks, DEFAULT_MAX_BYTES, PrefixIndex};
//!
//! let size = NonZeroUsize::new(8).unwrap();
//! let mut hasher = BlockHasher::new(BlockHash::NEUTRAL, Blocks { size, limit: 2048 });
//! let mut blocks = Vec::new();
//! hasher.update(b"Be brief. Say where, and when.", |hash| blocks.push(hash));
//!
//! let mut index = PrefixIndex::new(3, DEFAULT_MAX_BYTES);
//! index.insert(1, &blocks, true);
//! index.insert(2, &blocks[..2], false);
//!
//! let mut matched = Vec::new();
//! index.matched(&blocks[..3], &mut matched);
//! assert_eq!(matched, [0, 3, 2]);
//! ```
//!
//! What is entered at the decision, so that the next request may follow, is not always read there: the
//! endpoint may not be reached, and a retry may go to another. A request keeps what it has [`Entered`]
//! until its answer begins, and corrects the index then, if need be.
//!
//! # The log
//!
//! Every VM has an index of its own. What it enters there goes into a [`PrefixLog`] as well, from which
//! the other VMs of its Envoy enter it into theirs. It holds the last prompts in 128 KiB: what a VM
//! does not read in time it has lost, and routes by what it knows.
//!
//! [restarted]: crate::pool::Endpoint::incarnation

mod block_hasher;
mod entered;
mod holders;
mod index;
mod log;
mod lru;
mod scope;
mod size;

pub use block_hasher::{BlockHash, BlockHasher, Blocks};
pub use entered::Entered;
pub use index::{DEFAULT_MAX_BYTES, PrefixIndex};
pub use log::{LogHead, PrefixLog, PrefixLogReader, Routed, SEGMENTS};
pub use scope::Scope;
pub use size::{block_tokens, capacity};
