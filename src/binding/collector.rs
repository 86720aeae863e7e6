//! The policy for Lua's collector in Lua's hands.

use mlua::prelude::*;

use crate::engine::{Collector, Pause};

/// `native.collector()`
#[derive(Default)]
pub(super) struct Handle(Collector);

impl LuaUserData for Handle {
    fn add_methods<M: LuaUserDataMethods<Self>>(methods: &mut M) {
        // Both return what to tell collectgarbage(), in how many seconds to end a period, and which, and for how many
        // kilobytes the collector rests; nil for nothing.
        methods.add_method_mut(
            "put_off",
            |_, this, (serving, again, memory, runs, now): (bool, bool, f64, bool, f64)| {
                Ok(told(this.0.put_off(serving, again, memory, runs, now)))
            },
        );
        methods.add_method_mut("end_period", |_, this, (period, memory, now): (u64, f64, f64)| {
            Ok(told(this.0.end(period, memory, now)))
        });
    }
}

fn told(pause: Pause) -> (Option<&'static str>, Option<f64>, Option<u64>, Option<u32>) {
    let (seconds, period) = pause.ends.unzip();
    (pause.runs.map(|runs| if runs { "restart" } else { "stop" }), seconds, period, pause.rests)
}
