//! The operations of decoders and encoders, one file each. See `lib.rs` for what holds of all of them.

pub(crate) mod activation;
pub(crate) mod attention;
pub(crate) mod bidirectional;
pub(crate) mod elementwise;
pub(crate) mod embed;
pub(crate) mod gelu;
pub(crate) mod kv_store;
pub(crate) mod layer_norm;
pub(crate) mod matmul;
pub(crate) mod rms_norm;
pub(crate) mod rope;
pub(crate) mod softmax;
