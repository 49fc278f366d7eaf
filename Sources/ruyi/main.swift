import Glibc
import RuyiEngine

// `CommandLine.arguments` would repair what is not UTF-8, and so name other files.
let arguments = (1..<max(Int(CommandLine.argc), 1)).compactMap { index in
    CommandLine.unsafeArgv[index].map { FileName.text($0) }
}
let code = MainThread.run { [arguments] in Program().run(arguments) }
fflush(nil)
// Nothing is left for the end to do, and linear algebra that libav's filters bring along waits there for threads of its
// own, for ever when these wait for memory that the system refuses.
_exit(code)
