# shellcheck shell=bash
# Checks that need no compiler. Each prints what is wrong and fails.

# The files of the project, one per line: what git tracks, and what it would; without git, all that is
# not built or installed.
project_files() {
    git ls-files --cached --others --exclude-standard 2>/dev/null ||
        find . -type f -not -path '*/node_modules/*' -not -path './target/*' -not -path './.git/*'
}

# check_paths FILE…: no file names a folder of somebody's machine.
check_paths() {
    local found
    # Written so that this line does not match itself.
    found=$(grep -InE '(^|[^A-Za-z0-9_.$}-])/([r]oot|[h]ome/[A-Za-z0-9_]+|[U]sers/[A-Za-z0-9_]+|[w]ork)/' \
        -- "$@" /dev/null) || return 0
    printf 'these lines name a folder of one machine:\n%s\n' "$found"
    return 1
}

# check_warnings LOG: no compiler or lint warning, and no manifest warning, about a crate of ours in the
# log of a cargo build. Cargo repeats the warnings of crates it does not build again, so a warm build
# is as strict as a cold one. Warnings of the network or of dependencies do not count.
check_warnings() {
    local found
    # shellcheck disable=SC2016 # backticks as cargo prints them
    found=$(sed 's/\x1b\[[0-9;]*m//g' "$1" | grep -E \
        -e '^warning: `quipu-[^`]+` \(.+\) generated [0-9]+ warning' \
        -e '^warning: .*Cargo\.toml: ' \
        -e '^warning: unused (config|manifest) key') || return 0
    printf 'warnings are errors:\n%s\n' "$found"
    return 1
}

# check_built_once LOG: nothing in the log of a verbose cargo build was compiled that had not been before.
# Where an earlier build compiled everything, such a package was built twice: with other features, say.
# What was edited in between doesn't count, cargo calls that dirty.
check_built_once() {
    local compiled dirty twice
    compiled=$(packages Compiling "$1")
    dirty=$(packages Dirty "$1")
    twice=$(LC_ALL=C comm -23 <(printf '%s\n' "$compiled") <(printf '%s\n' "$dirty"))
    [ -n "$twice" ] || return 0
    printf 'compiled a second time:\n%s\n' "$twice"
    return 1
}

# packages VERB LOG: the packages, sorted, of which cargo says so.
packages() { sed -nE "s/^ +$1 ([^ ]+ v[^ :]+).*/\1/p" "$2" | LC_ALL=C sort -u; }

# nextest_summary LOG: the closing line of the last run of nextest in a log.
nextest_summary() { sed 's/\x1b\[[0-9;]*m//g' "$1" | grep -E '^ +Summary \[' | tail -n1; }
