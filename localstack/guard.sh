#!/usr/bin/env bash
# guard.sh FOLDER COMMAND..: runs a command in FOLDER, until it ends, or until our standard input does: that is when
# whoever started us is gone, however it ended. Then nothing is left of the command, its descendants and the folder.
# Exits with the status of a command that ended by itself.
set -uo pipefail
set -m # every job is a process group of its own
folder=$1
shift
trap true INT HUP TERM

cd "$folder" || exit 1
"$@" </dev/null >"$folder/log" 2>&1 &
command=$!
cat <&0 >/dev/null 2>&1 &
watch=$!

# Those of the family that live, with what they have started since: pid:start, since a pid may be another's by now. They
# are kept from the start of the end on, since a child whose parent is gone names another parent.
family=()
look() {
  mapfile -t family < <(ps -e -o pid=,ppid=,stat=,lstart= | awk -v root="$command" -v known="${family[*]}" '
    BEGIN { split(known, ids, " "); for (i in ids) were[ids[i]] = 1 }
    $3 !~ /^Z/ {
      id[$1] = $1 ":" $5 $6 $7 $8
      parent[$1] = $2
      if ($1 == root || id[$1] in were) member[$1] = 1
    }
    END {
      for (pid in parent) { p = pid; while (p in parent && !(p in member)) p = parent[p]; if (p in member) member[pid] = 1 }
      for (pid in member) print id[pid]
    }')
}

status=0
wait -n "$command" "$watch"
if ! kill -0 "$command" 2>/dev/null; then
  wait "$command"
  status=$?
  kill -KILL -- "-$command" 2>/dev/null # its group, if any of it is left
  command=0                             # waited for: the pid is free for others
fi
look
if ((${#family[@]})); then kill -TERM -- "-$command" 2>/dev/null; fi
for _ in $(seq 150); do
  look
  ((${#family[@]})) || break
  sleep 0.1
done
while ((${#family[@]})); do # whoever is still there may be starting others
  kill -KILL "${family[@]%%:*}" 2>/dev/null
  look
done
kill -TERM -- "-$watch" 2>/dev/null
wait "$watch" 2>/dev/null
((status)) && tail -n 40 "$folder/log" >&2
cd / && rm -rf "$folder"
exit "$status"
