mod decoding;
mod encoding;
mod fixtures;
mod names;
mod properties;
mod readable;
