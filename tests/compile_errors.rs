//! The compiler's messages for handlers that do not compile are part of the API.

#[test]
fn mistakes_are_explained() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}

#[cfg(feature = "typed")]
#[test]
fn mistakes_with_typed_events_are_explained() {
    trybuild::TestCases::new().compile_fail("tests/ui/typed/*.rs");
}
