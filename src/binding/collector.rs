//! The policy for Lua's collector in Lua's hands.

use mlua::prelude::*;

use crate::engine::{Collector, Pause};

/// `native.collector()`
#[derive(Default)]
pub(super) struct Handle(Collector);

impl LuaUserData for Handle {
    fn add_methods<M: LuaUserDataMethods<Self>>(methods: &mut M) {
        // Returns what to tell collectgarbage(), in how many seconds to end a period, and which; nil for nothing.
        methods.add_method_mut("put_off", |_, this, (serving, memory, runs): (bool, f64, bool)| {
            let Pause { runs, ends } = this.0.put_off(serving, memory, runs);
            let (seconds, period) = ends.unzip();
            Ok((runs.map(|runs| if runs { "restart" } else { "stop" }), seconds, period))
        });
        methods.add_method_mut("end_period", |_, this, period: u64| Ok(this.0.end(period)));
    }
}
