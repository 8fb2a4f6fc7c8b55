# Guardian of one private PostgreSQL, in a process group of its own. Reads words from standard input and answers each
# with the word and a status: `init` creates the cluster, `up` starts the server, `down` stops it as a crash would.
# End of input, for whatever reason the owner ended, stops the server and removes the folder.
#   $1 the folder, $2 the folder of the PostgreSQL programs, $3 the superuser, $4 the port
# Ctrl-C and closed terminals are the owner's business, and an owner who no longer listens must not end the clean-up.
trap '' INT TERM HUP PIPE
dir=$1 bin=$2 superuser=$3 port=$4 pid=
init() {
    # C.UTF-8 knows letters beyond ASCII; not every system has it.
    for locale in C.UTF-8 C; do
        "$bin/initdb" -D "$dir/data" -U "$superuser" -A scram-sha-256 --pwfile="$dir/password" \
            --no-sync -E UTF8 --locale="$locale" </dev/null >>"$dir/log" 2>&1 && return 0
    done
    return 1
}
up() {
    "$bin/postgres" -D "$dir/data" -k "$dir" -p "$port" </dev/null >>"$dir/log" 2>&1 &
    pid=$!
}
down() {
    [ -n "$pid" ] || return 0
    kill -QUIT "$pid" 2>/dev/null
    wait "$pid" 2>/dev/null
    pid=
}
while read -r word; do
    case $word in
        init) init ;;
        up) up ;;
        down) down ;;
        *) false ;;
    esac
    echo "$word $?" 2>/dev/null
done
down
cd / && rm -rf -- "$dir"
