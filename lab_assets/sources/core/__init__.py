"""What readers share: text, cells, numbers, times, traces, contract tables, rules of refusal."""
