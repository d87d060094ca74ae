//! Stories of Pods that meet; the next commit tells them.
