"""From a bad answer to an unlearned model: `unweave fix`, which goes through tracing, finding the rest, forgetting and auditing."""
