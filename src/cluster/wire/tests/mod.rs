mod decoding;
mod encoding;
mod fixtures;
mod properties;
mod readable;
