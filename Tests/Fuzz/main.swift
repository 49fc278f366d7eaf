// `ruyi-fuzz ENTRY [libFuzzer's arguments]` gives libFuzzer's inputs to one of the program's parsers.

import Glibc
import ParserEntries

/// libFuzzer's own loop; it returns when the time is over.
@_silgen_name("LLVMFuzzerRunDriver")
func runDriver(
    _ count: UnsafeMutablePointer<CInt>,
    _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>>,
    _ body: @convention(c) (UnsafePointer<UInt8>?, Int) -> CInt
) -> CInt

nonisolated(unsafe) private var entry = ParserEntry.safetensors

guard CommandLine.arguments.count > 1, let chosen = ParserEntry(rawValue: CommandLine.arguments[1]) else {
    print(ParserEntry.allCases.map(\.rawValue).joined(separator: "\n"))
    exit(CommandLine.arguments.count > 1 ? 64 : 0)
}
entry = chosen
// The entry's name is not one of libFuzzer's arguments.
var count = CommandLine.argc - 1
var arguments = CommandLine.unsafeArgv + 1
arguments[0] = CommandLine.unsafeArgv[0]
let code = withUnsafeMutablePointer(to: &arguments) {
    runDriver(&count, $0) { bytes, length in
        entry.take(Array(UnsafeBufferPointer(start: bytes, count: length)))
        return 0
    }
}
exit(code)
