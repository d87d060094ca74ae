# Aliases of the project's tasks; `cargo xtask --help` lists them.

default:
    @just --list

up *ARGS:
    cargo xtask up {{ARGS}}

test *ARGS:
    cargo xtask test {{ARGS}}

check:
    cargo xtask check

guests:
    cargo xtask guests

bench *ARGS:
    cargo xtask bench {{ARGS}}

simulate *ARGS:
    cargo xtask simulate {{ARGS}}
