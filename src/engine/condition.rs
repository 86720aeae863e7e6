//! What is wrong with the module, as Prosody's shell shows it: its status.

use crate::engine::effect::{Effect, Level};
use crate::engine::operation::Call;
use crate::engine::{Answer, Engine, Operation};

/// An update that Prosody does not use before it is restarted.
const UPDATE: &str = "An update is installed: restart Prosody to use it";

/// What is wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Condition {
    /// Groups cannot be read from storage.
    pub(crate) unread: bool,
    /// The last attempt to store a group failed.
    pub(crate) unstored: bool,
    /// How many contact lists cannot be read or stored.
    pub(crate) failing: usize,
    /// The chat host is not there.
    pub(crate) without_chats: bool,
    /// An update is installed.
    pub(crate) outdated: bool,
}

impl Condition {
    /// The worst of it.
    fn status(self) -> (Level, String) {
        let (level, text) = match self {
            Condition { unread: true, .. } => (Level::Error, "Groups cannot be read from storage (see log)"),
            Condition { unstored: true, .. } => (Level::Error, "Groups cannot be stored (see log)"),
            Condition { failing: 1.., .. } => {
                let text = format!("Contact lists cannot be read or stored: {} (see log)", self.failing);
                return (Level::Error, text);
            }
            Condition { without_chats: true, .. } => (Level::Error, "groups_muc_host is no active chat host"),
            Condition { outdated: true, .. } => (Level::Warn, UPDATE),
            _ => (Level::Info, "Loaded"),
        };
        (level, text.to_owned())
    }
}

impl Engine {
    /// Looks whether the chat host is there, if one is configured.
    pub fn check_chat_host(&self) -> Operation {
        self.start(|call| async move {
            if !call.state().options.chats {
                return Ok(Answer::Done);
            }
            let missing = call.find_rooms(&[]).await.err();
            let is_new = call.note_condition(|condition| condition.without_chats = missing.is_some()).await;
            if let Some(reason) = missing.filter(|_| is_new) {
                let text = "add that Component \"muc\" to the configuration";
                call.log(Level::Error, format!("groups_muc_host is {reason}: {text}")).await;
            }
            Ok(Answer::Done)
        })
    }

    /// Tells that an update is installed, and that the version in memory goes on.
    pub fn tell_of_update(&self) -> Operation {
        self.start(|call| async move {
            if call.note_condition(|condition| condition.outdated = true).await {
                call.log(Level::Warn, format!("The version that Prosody has loaded goes on. {UPDATE}")).await;
            }
            Ok(Answer::Done)
        })
    }
}

impl Call {
    /// Notes what is wrong, or well again, and shows it. True if that is new.
    pub(crate) async fn note_condition(&self, note: impl FnOnce(&mut Condition)) -> bool {
        let (before, now) = {
            let condition = &mut self.state().condition;
            let before = *condition;
            note(condition);
            (before, *condition)
        };
        if before == now {
            return false;
        }
        let (level, text) = now.status();
        self.perform(Effect::ShowStatus(level, text)).await;
        true
    }

    /// Shows how many rosters fail, after one has failed or may be well again.
    pub(crate) async fn show_failing(&self) {
        let failing = self.state().work.warned();
        self.note_condition(|condition| condition.failing = failing).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_is_the_worst_of_what_is_wrong() {
        let mut condition = Condition { unread: true, unstored: true, failing: 2, without_chats: true, outdated: true };
        let begins = |condition: Condition, text| assert!(condition.status().1.starts_with(text), "{condition:?}");
        begins(condition, "Groups cannot be read");
        condition.unread = false;
        begins(condition, "Groups cannot be stored");
        condition.unstored = false;
        begins(condition, "Contact lists cannot be read or stored: 2");
        condition.failing = 0;
        begins(condition, "groups_muc_host");
        condition.without_chats = false;
        begins(condition, "An update");
        assert_eq!(Condition::default().status(), (Level::Info, "Loaded".to_owned()));
    }
}
