//! What prompts have in common, and who has read them.

mod hashes;
mod index;
mod log;
mod sizes;
