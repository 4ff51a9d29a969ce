# Sourced by the shell of each step (BASH_ENV). act closes a failing step's terminal at once and loses what was not read yet: wait a moment.
case "$0" in
  */act/workflow/*)
    unset BASH_ENV
    trap 'code=$?; [ "$code" = 0 ] || sleep 0.3; exit "$code"' EXIT
    ;;
esac
