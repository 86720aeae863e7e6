-- Sets `prosody.spec_started` when the server has started and everybody has been told: with storage that waits, the
-- ports answer before that.
module:hook_global("server-started", function ()
	prosody.spec_started = true;
end, -1000);
