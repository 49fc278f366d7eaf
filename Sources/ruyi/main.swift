import Glibc

let code = Program().run(Array(CommandLine.arguments.dropFirst()))
fflush(nil)
// Nothing is left for the end to do, and linear algebra that libav's filters bring along waits there for threads of its
// own, for ever when these wait for memory that the system refuses.
_exit(code)
