use tower_socketio::typed::{AckType, Answer, ArgumentType, NoAnswer};

pub struct Local;

impl Answer<NoAnswer> for Local {}
impl ArgumentType for Local {}
impl AckType for Local {}

fn main() {}
