import Foundation
import Glibc
import HTTPTypes
import Hummingbird
import Logging
import NIOCore
import NIOPosix
import RuyiEngine
import RuyiFault
import RuyiFiles
import RuyiTensor
import ServiceLifecycle
import Synchronization

/// What a server is told when it starts.
public struct ServeOptions: Sendable {
    /// The address at which it listens, such as `127.0.0.1`.
    public var host = "127.0.0.1"
    /// The port; 0 takes one that is free.
    public var port = 8188
    /// The folder of clips and queue.
    public var folder = "."
    /// The memory that a clip may take, as `--memory` has it; nil for nine tenths of what is there.
    public var memory: String?
    /// What computes, each of them a clip of its own at a time; empty for the processor.
    public var devices: [String] = []
    /// What every request has to bring where the address can be reached from other machines.
    public var token: String?

    /// A server on this machine alone.
    public init() {}

    /// The token in a file: its first line.
    public static func token(inFile path: String) throws(Fault) -> String {
        let bytes = try FileBytes.read(path, limit: 4096)
        return String(decoding: bytes.prefix { $0 != 10 && $0 != 13 }, as: UTF8.self)
    }
}

/// The program as a server: takes requests over HTTP, renders them one after the other, and shows a page to work on.
public struct Server: Sendable {
    /// Seconds after which a connection without a request, or with half of one, is closed.
    private static let patience = 30
    /// Descriptors that are kept for files and pipes.
    private static let spareDescriptors = 128

    private let options: ServeOptions

    /// A server with these options.
    ///
    /// Throws `.usage` for an address that others reach without a token, and `.unavailable` for a device that is not there.
    public init(_ options: ServeOptions) throws(Fault) {
        self.options = options
        for device in options.devices { try Engine.require(device: device) }
        guard Server.isLoopback(options.host) || options.token?.isEmpty == false else {
            throw Fault(
                .usage, "other machines reach \(options.host), so that a token is needed", at: "--host",
                hint: "set RUYI_TOKEN or give --token-file")
        }
        if let token = options.token,
            !token.utf8.allSatisfy({ (0x21...0x7E).contains($0) && $0 != 0x3B }) || token.utf8.count < 16
        {
            throw Fault(
                .usage, "a token has at least 16 letters, digits and signs, and no spaces", at: "--token-file",
                hint: "make one with: head -c 24 /dev/urandom | base64")
        }
    }

    private static func isLoopback(_ host: String) -> Bool {
        host == "localhost" || host == "::1" || (host.hasPrefix("127.") && host.split(separator: ".").count == 4)
    }

    /// Serves until `cancellation` is set; `ready` gets the address of the page.
    public func run(
        catalog: ModelCatalog = .installed(), cancellation: Cancellation, ready: @escaping @Sendable (String) -> Void
    ) throws(Fault) {
        let folder = try ServeFolder(options.folder)
        let office = try Office(folder, catalog: catalog, memory: options.memory, devices: options.devices)
        let workers = Workers(office)
        let descriptors = Server.raiseDescriptors()
        let failure = Mutex<Fault?>(nil)
        let done = DispatchSemaphore(value: 0)
        let task = Task {
            do {
                try await serve(office, workers, descriptors, cancellation, ready)
            } catch {
                failure.withLock { $0 = Server.fault(error, options) }
            }
            done.signal()
        }
        workers.start()
        done.wait()
        _ = task
        workers.stop()
        if let fault = failure.withLock({ $0 }) { throw fault }
    }

    private func serve(
        _ office: Office, _ workers: Workers, _ descriptors: Int, _ cancellation: Cancellation,
        _ ready: @escaping @Sendable (String) -> Void
    ) async throws {
        let isEverywhere = options.host == "0.0.0.0" || options.host == "::"
        var hosts: Set<String> = ["localhost", "127.0.0.1", "[::1]"]
        hosts.insert(options.host.contains(":") ? "[\(options.host)]" : options.host.lowercased())
        let isOpen = !Server.isLoopback(options.host)
        let gate = Gate<BasicRequestContext>(hosts: hosts, token: isOpen ? options.token : nil)
        var logger = Logger(label: "ruyi.serve")
        logger.logLevel = .critical
        let host = isEverywhere ? "localhost" : options.host.contains(":") ? "[\(options.host)]" : options.host
        var configuration = ApplicationConfiguration(
            address: .hostname(options.host, port: options.port), serverName: nil, backlog: 1024, reuseAddress: true)
        configuration.availableConnectionsDelegate = .maximum(
            descriptors - Server.spareDescriptors, logger: logger)
        let application = Application(
            router: Routes(office: office, workers: workers).router(gate),
            server: .http1(configuration: .init(idleTimeout: .seconds(Int64(Server.patience)))),
            configuration: configuration,
            onServerRunning: { channel in ready("http://\(host):\(channel.localAddress?.port ?? 0)/") },
            logger: logger)
        let group = ServiceGroup(
            configuration: .init(services: [application], gracefulShutdownSignals: [], logger: logger))
        let watch = Task {
            var beats = 0
            while !cancellation.isCancelled {
                try? await Task.sleep(for: .milliseconds(100))
                beats += 1
                if beats.isMultiple(of: 150) { office.hub.beat() }
            }
            office.hub.close()
            await group.triggerGracefulShutdown()
            // Whoever still downloads has a moment for it.
            try? await Task.sleep(for: .seconds(5))
            if !Task.isCancelled { await group.triggerGracefulShutdown() }
        }
        defer { watch.cancel() }
        try await group.run()
    }

    /// Lets the process hold as many connections as the system allows.
    private static func raiseDescriptors() -> Int {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return 1024 }
        limit.rlim_cur = min(limit.rlim_max, 65_536)
        _ = setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        return Int(min(limit.rlim_cur, 65_536))
    }

    private static func fault(_ error: any Error, _ options: ServeOptions) -> Fault {
        if let error = error as? IOError {
            let inUse = error.errnoCode == EADDRINUSE
            return Fault(
                inUse ? .unavailable : .cannotOpen,
                inUse
                    ? "the port \(options.port) is in use"
                    : "cannot listen at \(options.host):\(options.port): \(error)",
                at: "--port", hint: inUse ? "another server runs, or give another --port" : nil)
        }
        return error as? Fault ?? Fault(.software, "the server ended: \(error)")
    }
}
