// swift-tools-version: 6.2
import PackageDescription

/// Kernels are compiled once per instruction-set level from the same sources and picked at run time.
func kernelFlags(_ machine: [String], _ levels: [String]) -> [SwiftSetting] {
    var flags = ["-Ounchecked"]
    #if arch(x86_64)
        if !machine.isEmpty {
            flags += (machine.map { "-m\($0)" } + ["-mprefer-vector-width=512"]).flatMap { ["-Xcc", $0] }
        }
    #endif
    return [.unsafeFlags(flags, .when(configuration: .release))] + levels.map { .define($0) }
}

let kernelLevels: [(target: String, machine: [String], defines: [String])] = {
    #if arch(x86_64)
        [
            ("RuyiKernels", [], ["LEVEL_BASELINE"]), ("RuyiKernelsAVX2", ["arch=x86-64-v3"], ["LEVEL_AVX2"]),
            ("RuyiKernelsAVX512", ["arch=x86-64-v4"], ["LEVEL_AVX512"]),
            ("RuyiKernelsVNNI", ["arch=x86-64-v4", "avx512vnni"], ["LEVEL_AVX512", "LEVEL_VNNI"]),
            ("RuyiKernelsBF16", ["arch=x86-64-v4", "avx512bf16"], ["LEVEL_AVX512", "LEVEL_BF16"]),
        ]
    #else
        [("RuyiKernels", [], ["LEVEL_BASELINE"])]
    #endif
}()

let strict: [SwiftSetting] = [
    .enableUpcomingFeature("MemberImportVisibility"), .enableUpcomingFeature("ExistentialAny"),
]

/// Tests of the executable wait for it: making their own code fast takes longer than it saves.
let waiting: [SwiftSetting] = strict + [.unsafeFlags(["-Onone"], .when(configuration: .release))]

let package = Package(
    name: "ruyi",
    products: [
        .executable(name: "ruyi", targets: ["ruyi"]),
        .library(name: "RuyiEngine", targets: ["RuyiEngine"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-collections", from: "1.2.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.0"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.0"),
        .package(url: "https://github.com/apple/swift-http-types", from: "1.8.0"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
        .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.0", traits: []),
        .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0"),
    ],
    targets: [
        // System libraries: C in, plain values out; setjmp stays inside C.
        .systemLibrary(name: "COpenBLAS", pkgConfig: "openblas", providers: [.apt(["libopenblas-dev"])]),
        .systemLibrary(name: "CPNGLibrary", pkgConfig: "libpng", providers: [.apt(["libpng-dev"])]),
        .systemLibrary(name: "CJPEGLibrary", pkgConfig: "libjpeg", providers: [.apt(["libjpeg-dev"])]),
        .systemLibrary(
            name: "CLibAVLibrary", pkgConfig: "libavformat",
            providers: [
                .apt(["libavcodec-dev", "libavfilter-dev", "libavformat-dev", "libavutil-dev", "libswscale-dev"])
            ]),
        .systemLibrary(name: "CWebPLibrary", pkgConfig: "libwebpdemux", providers: [.apt(["libwebp-dev"])]),
        .systemLibrary(name: "CLittleCMSLibrary", pkgConfig: "lcms2", providers: [.apt(["liblcms2-dev"])]),
        .target(name: "CPNG", dependencies: ["CPNGLibrary"], linkerSettings: [.linkedLibrary("z")]),
        // Opens libcurl when it is first needed, so it is not linked.
        .target(name: "CCurl"),
        .target(name: "CJPEG", dependencies: ["CJPEGLibrary"]),
        // Opens libavif, libheif and libtiff when they are first needed, so these are not linked.
        .target(
            name: "CPictures", dependencies: ["CWebPLibrary", "CLittleCMSLibrary"],
            linkerSettings: [.linkedLibrary("jxl")]),
        .target(
            name: "CLibAV", dependencies: ["CLibAVLibrary"],
            linkerSettings: ["avcodec", "avutil", "swscale"].map { .linkedLibrary($0) }),
        // What the processor can do.
        .target(name: "CProcessor"),
        // Single instructions that Swift cannot say.
        .target(name: "CKernelIntrinsics"),
        // The one error type that every room throws.
        .target(name: "RuyiFault", swiftSettings: strict),
        // What is the result: tensors, primitive operations and what they mean, backends and sessions as protocols.
        .target(name: "RuyiTensor", dependencies: ["RuyiFault"], swiftSettings: strict),
        // What the kernels of every instruction-set level offer.
        .target(name: "RuyiKernelTable", swiftSettings: strict),
    ]
        + kernelLevels.map {
            .target(
                name: $0.target, dependencies: ["RuyiKernelTable", "CKernelIntrinsics"],
                swiftSettings: strict + kernelFlags($0.machine, $0.defines))
        } + [
            // The processor as a backend: kernels, memory, threads.
            .target(
                name: "RuyiCPU",
                dependencies: ["CProcessor", "RuyiFault", "RuyiKernelTable", "RuyiTensor"]
                    + kernelLevels.map { .byName(name: $0.target) },
                swiftSettings: strict),
            // A GPU through Vulkan, whose loader is opened when it is first needed, so it is not linked.
            .target(name: "CVulkan"),
            .target(name: "CGPUKernels", exclude: ["shaders", "spirv"]),
            // A GPU as a backend: kernels, memory, weights that come and go.
            .target(
                name: "RuyiGPU", dependencies: ["CVulkan", "CGPUKernels", "RuyiFault", "RuyiTensor"],
                swiftSettings: strict),
            // Is this file what it says: strict JSON, safetensors, torch pickles, atomic writing, model folders.
            .target(name: "RuyiFiles", dependencies: ["RuyiFault", "RuyiTensor"], swiftSettings: strict),
            // 8-bit pictures and PIL-exact resizing.
            .target(name: "RuyiPicture", dependencies: ["RuyiFault"], swiftSettings: strict),
            // Pictures in, video out, each through its format's own library.
            .target(
                name: "RuyiMedia", dependencies: ["RuyiFault", "RuyiPicture", "CPNG", "CJPEG", "CPictures", "CLibAV"],
                swiftSettings: strict),
            // Noise schedules, step rules and noise generators as plain values.
            .target(name: "RuyiSampling", dependencies: ["RuyiFault", "RuyiTensor"], swiftSettings: strict),
            // Layers take their weights by key path and shape, and have one callAsFunction.
            .target(
                name: "RuyiLayers", dependencies: ["RuyiFault", "RuyiTensor", "RuyiFiles"], swiftSettings: strict),
            // Text and image encoders shared by families.
            .target(
                name: "RuyiEncoders",
                dependencies: [
                    "RuyiFault", "RuyiLayers", "RuyiFiles", "RuyiTensor", "RuyiPicture",
                    .product(name: "HeapModule", package: "swift-collections"),
                ], swiftSettings: strict),
            // Networks that several families stand on.
            .target(
                name: "RuyiModels",
                dependencies: [
                    "RuyiFault", "RuyiEncoders", "RuyiLayers", "RuyiFiles", "RuyiTensor", "RuyiPicture",
                ], swiftSettings: strict),
            // What does this model do: one folder a family.
            .target(
                name: "RuyiFamilies",
                dependencies: [
                    "RuyiFault", "RuyiModels", "RuyiEncoders", "RuyiSampling", "RuyiLayers", "RuyiFiles", "RuyiTensor",
                    "RuyiPicture",
                ], swiftSettings: strict),
            // Will it fit and did it finish: a request in, frames and files out.
            .target(
                name: "RuyiEngine",
                dependencies: [
                    "RuyiFault", "RuyiFamilies", "RuyiMedia", "RuyiFiles", "RuyiTensor", "RuyiCPU", "RuyiGPU",
                    "RuyiPicture",
                    "RuyiSampling", .product(name: "Logging", package: "swift-log"),
                ], swiftSettings: strict),
            // Models from the hub, clips from a server; nothing else opens a connection outwards.
            .target(name: "RuyiHub", dependencies: ["RuyiFault", "RuyiFiles", "CCurl"], swiftSettings: strict),
            // The program as a server: a queue that survives, an interface over HTTP, a page. Nothing else listens.
            .target(
                name: "RuyiServe",
                dependencies: [
                    "RuyiFault", "RuyiEngine", "RuyiFamilies", "RuyiFiles", "RuyiMedia", "RuyiPicture",
                    .product(name: "Hummingbird", package: "hummingbird"),
                    .product(name: "HTTPTypes", package: "swift-http-types"),
                    .product(name: "NIOCore", package: "swift-nio"),
                    .product(name: "NIOPosix", package: "swift-nio"),
                    .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
                    .product(name: "GRDB", package: "GRDB.swift"), .product(name: "Logging", package: "swift-log"),
                ], resources: [.embedInCode("Page")], swiftSettings: strict),
            // The files of the model that comes with the program.
            .target(name: "BundledModel", resources: [.copy("ruyi-nano")]),
            // What the user meant: options, streams, exit codes.
            .executableTarget(
                name: "ruyi",
                dependencies: [
                    "RuyiEngine", "RuyiFault", "RuyiHub", "RuyiServe", "BundledModel",
                    .product(name: "Logging", package: "swift-log"),
                ], swiftSettings: strict),
            // Every way for bytes from outside into the program, for the fuzzer and the tests.
            .target(
                name: "ParserEntries",
                dependencies: [
                    "RuyiEngine", "RuyiFamilies", "RuyiEncoders", "RuyiLayers", "RuyiFiles", "RuyiTensor", "RuyiCPU",
                    "RuyiFault", "RuyiMedia", "RuyiPicture",
                ],
                path: "Tests/ParserEntries", swiftSettings: strict),
            .testTarget(
                name: "CorpusTests", dependencies: ["ParserEntries", "RuyiFault"], swiftSettings: strict),
            .testTarget(
                name: "RuyiCPUTests", dependencies: ["RuyiCPU", "RuyiTensor", "RuyiFault", "COpenBLAS"],
                swiftSettings: strict),
            .testTarget(
                name: "RuyiGPUTests", dependencies: ["RuyiGPU", "RuyiTensor", "RuyiFault"], swiftSettings: strict),
            // Recorded cases of references: where they are, and how near a run must come to them.
            .target(
                name: "GoldenRecords", dependencies: ["RuyiFamilies", "RuyiFiles", "RuyiTensor"],
                path: "Tests/GoldenRecords", swiftSettings: strict),
            // Writes torch and GGUF files, right and wrong, for tests.
            .target(name: "TorchFixtures", path: "Tests/TorchFixtures", swiftSettings: strict),
            .testTarget(
                name: "RuyiFilesTests",
                dependencies: ["RuyiFiles", "RuyiLayers", "RuyiTensor", "RuyiCPU", "RuyiFault", "TorchFixtures"],
                exclude: ["Fixtures"], swiftSettings: strict),
            // Runs the program where opening a socket ends it; for tests.
            .executableTarget(name: "NoSockets", path: "Tests/NoSockets"),
            .testTarget(
                name: "RuyiHubTests", dependencies: ["RuyiHub", "RuyiFiles", "RuyiFault", "ruyi", "NoSockets"],
                swiftSettings: strict),
            .testTarget(
                name: "RuyiMediaTests", dependencies: ["RuyiMedia", "RuyiPicture", "RuyiFault"], exclude: ["Fixtures"],
                swiftSettings: strict),
            .testTarget(
                name: "RuyiSamplingTests", dependencies: ["RuyiSampling", "RuyiTensor", "RuyiCPU", "RuyiFault"],
                exclude: ["Fixtures"], swiftSettings: strict),
            .testTarget(
                name: "RuyiFamiliesTests",
                dependencies: [
                    "RuyiFamilies", "RuyiModels", "RuyiEncoders", "RuyiFiles", "RuyiTensor", "RuyiCPU", "RuyiMedia",
                    "RuyiPicture", "RuyiLayers", "RuyiSampling", "RuyiFault", "TorchFixtures", "GoldenRecords",
                ], swiftSettings: strict),
            .testTarget(
                name: "EndToEndTests",
                dependencies: [
                    "RuyiEngine", "RuyiFamilies", "RuyiModels", "RuyiLayers", "RuyiSampling", "RuyiFiles", "RuyiTensor",
                    "RuyiCPU", "RuyiGPU", "RuyiFault", "RuyiMedia", "RuyiPicture", "ruyi", "TorchFixtures",
                    "GoldenRecords",
                ],
                swiftSettings: waiting),
        ],
    swiftLanguageModes: [.v6]
)

// For Scripts/fuzz and Scripts/sanitize: undefined behaviour in C is a trap, and for the first what parses is instrumented
// for libFuzzer and AddressSanitizer.
let isFuzzing = Context.environment["RUYI_FUZZ"] != nil
if isFuzzing || Context.environment["RUYI_SANITIZE"] != nil {
    // Only some of the rooms' own suites run under ThreadSanitizer; these take long to build.
    let isOfThreads = Context.environment["RUYI_SANITIZE"] == "thread"
    package.targets.removeAll { isOfThreads && ["EndToEndTests", "RuyiFamiliesTests"].contains($0.name) }
    let checks = isFuzzing ? ["-fsanitize=fuzzer-no-link,address"] : []
    for target in package.targets where ["CPNG", "CJPEG", "CPictures", "CLibAV"].contains(target.name) {
        target.cSettings = [.unsafeFlags(checks + ["-fsanitize=undefined", "-fsanitize-trap=undefined"])]
    }
}
if isFuzzing {
    let parsing = [
        "RuyiFiles", "RuyiMedia", "RuyiPicture", "RuyiEncoders", "RuyiModels", "RuyiFamilies", "RuyiEngine",
        "ParserEntries",
    ]
    // What computes is not looked at: making it fast would take most of the time.
    for target in package.targets where target.type == .regular && !target.name.hasPrefix("RuyiKernels") {
        target.swiftSettings = strict + [.unsafeFlags(["-Onone"])]
    }
    for target in package.targets where parsing.contains(target.name) {
        target.swiftSettings = strict + [.unsafeFlags(["-Onone", "-sanitize=fuzzer,address"])]
    }
    package.targets.append(
        .executableTarget(
            name: "ruyi-fuzz", dependencies: ["ParserEntries"], path: "Tests/Fuzz",
            swiftSettings: strict + [.unsafeFlags(["-Onone", "-sanitize=fuzzer,address"])],
            linkerSettings: [.unsafeFlags(["-sanitize=fuzzer,address", "-use-ld=lld"])]))
}
