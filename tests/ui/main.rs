//! The compiler's messages for mistakes are part of the API.

#[test]
fn mistakes_are_explained() {
    trybuild::TestCases::new().compile_fail("handlers/*.rs");
}

#[test]
fn mistakes_with_typed_events_are_explained() {
    trybuild::TestCases::new().compile_fail("typed/*.rs");
}

#[test]
fn debug_handler_points_to_mistakes() {
    trybuild::TestCases::new().compile_fail("macros/*.rs");
}
