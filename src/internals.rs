//! What `benches/micro.rs` measures. Behind a feature of its own, and no part of the API.
