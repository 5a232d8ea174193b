"""The formats of plain files, as pure functions: no network, no protobuf, nothing of ours."""
