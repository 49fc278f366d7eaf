import Foundation
import RuyiGPU
import RuyiTensor
import Testing

/// A GPU with one variant of the kernels.
struct TestDevice: Sendable, CustomTestStringConvertible {
    let facts: GPUFacts
    let variant: GPUBackend.Variant

    var testDescription: String { "\(facts.name), \(variant.rawValue)" }

    func backend(memoryLimit: Int? = nil) throws -> GPUBackend {
        try GPUBackend(facts, memoryLimit: memoryLimit, variant: variant)
    }

    /// Every device of the machine with every variant; Mesa's driver for processors is one, where it is installed.
    static let all: [TestDevice] = GPUFacts.all().list.filter { $0.lacking == nil }.flatMap { facts in
        GPUBackend.Variant.allCases.map { TestDevice(facts: facts, variant: $0) }
    }
}

@Suite("GPU")
struct GPUTests {
    @Test("where the tests are to be complete there is a device")
    func present() {
        #expect(ProcessInfo.processInfo.environment["CI"] == nil || !TestDevice.all.isEmpty)
    }

    @Test("every operation is within 1e-5 of its plain reference", arguments: TestDevice.all)
    func operations(_ device: TestDevice) throws {
        let results = try OperationSuite.run(on: device.backend())
        #expect(results.count > 120)
        for result in results { #expect(result.isRight, "\(result.name): \(result.error)") }
    }

    @Test(
        "products of halves, and what units for them make, are those of their rounded numbers",
        arguments: TestDevice.all)
    func halves(_ device: TestDevice) throws {
        let backend = try device.backend()
        let results = OperationSuite.matrices(on: backend)
        #expect(results.count >= 22)
        for result in results { #expect(result.isRight, "\(result.name): \(result.error)") }
        #expect(backend.arithmetics.contains(.f16) && backend.arithmetics.contains(.bf16))
        #expect(backend.findings.units[.f16]?.isRight == true)
    }

    @Test("a meter counts what products of halves take", arguments: TestDevice.all)
    func halvesMeter(_ device: TestDevice) throws {
        let backend = try device.backend()
        func run(_ session: any Session) -> Tensor {
            let x = session.filled([1, 96, 80], 0.5)
            let weight = session.backend.weight(HostTensor.zeros([128, 80]), in: ResidencyUnit())
            return session.linear(x, Projection(weight), .gelu)
        }
        let (session, meter) = (backend.session(arithmetic: .bf16), backend.meter(.bf16))
        _ = session.read(run(session))
        _ = meter.read(run(meter))
        #expect(session.memory.peakBytes == meter.takePeak())
    }

    @Test("where weights find no room they come and go, with the same numbers", arguments: TestDevice.all)
    func eviction(_ device: TestDevice) throws {
        let matrices = (0..<12).map { seed in
            HostTensor(
                (0..<256 * 1024).map { Float(($0 &* 7919 &+ seed &* 104_729) % 1000) / 1e5 - 0.005 }, [512, 512])
        }
        func run(_ backend: GPUBackend) throws -> [Float] {
            let session = backend.session()
            let weights = matrices.map { backend.weight($0, in: ResidencyUnit()) }
            var x = session.upload(HostTensor((0..<512).map { Float($0 % 13) / 13 }, [1, 1, 512]))
            for _ in 0..<3 {
                for weight in weights {
                    x = session.linear(x, Projection(weight), .silu)
                    session.release(weight.unit)
                }
            }
            try session.check()
            return session.floats(x)
        }
        let wide = try device.backend()
        // Room for five of the twelve.
        let narrow = try device.backend(memoryLimit: 5 << 20)
        #expect(try run(wide) == run(narrow))
        #expect(wide.traffic == (12, 0))
        #expect(narrow.traffic.evicted > 12 && narrow.traffic.brought < 36, "some stay from round to round")
    }

    @Test("what finds no room is refused, and nothing is computed after it", arguments: TestDevice.all)
    func refusal(_ device: TestDevice) throws {
        let session = try device.backend(memoryLimit: 8 << 20).session()
        let x = session.filled([4 << 20], 1)
        #expect(throws: (any Error).self) { try session.check() }
        #expect(session.read(session.combine(x, 1, x, 1)).shape == [4 << 20])
    }

    @Test("a cancelled session does nothing more", arguments: TestDevice.all)
    func cancellation(_ device: TestDevice) throws {
        let flag = Cancellation()
        let session = try device.backend().session(flag)
        let x = session.filled([100], 2)
        flag.cancel()
        _ = session.read(session.combine(x, 1, x, 1))
        #expect(throws: Cancelled.self) { try session.check() }
    }

    @Test("a meter counts what a session takes", arguments: TestDevice.all)
    func meter(_ device: TestDevice) throws {
        let backend = try device.backend()
        func run(_ session: any Session) -> Tensor {
            let x = session.filled([2, 64, 96], 0.5)
            let weight = session.backend.weight(HostTensor.zeros([128, 96]), in: ResidencyUnit())
            let y = session.linear(x, Projection(weight), .gelu)
            return session.combine(session.copy(y), 2, session.copy(y), 1)
        }
        let (session, meter) = (backend.session(), backend.meter())
        _ = session.read(run(session))
        _ = run(meter)
        #expect(session.memory.peakBytes == meter.takePeak())
        #expect(meter.takeWork()[.product(inputs: 96, outputs: 128)] == Double(2 * 128 * 96 * 128))
    }
}
