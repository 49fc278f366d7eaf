import GoldenRecords
import RuyiCPU
import RuyiFamilies
import RuyiFiles
import RuyiPicture
import RuyiSampling
import RuyiTensor
import Testing

@Suite("Step-Video's blocks in memory and on the disk")
struct StepResidencyTests {
    /// The final latents of a small clip of two steps, with the blocks in memory that so many bytes have room for.
    private func latents(keeping bytes: Int?) throws -> [Float] {
        let backend = CPUBackend(threads: 2)
        let golden = try GoldenCase("i2v-motion5", family: "step-video")
        let folder = try ModelFolder(path: golden.path + "/model")
        var request = try golden.request()
        (request.width, request.height, request.frames, request.steps) = (32, 32, 17, 2)
        request.prompt = "A cat."
        let image = try golden.picture("image.png")
        var plan = try StepVideo.plan(
            request, folder: folder, image: PictureSize(width: image.width, height: image.height))
        if let bytes { (plan.memoryMode, plan.keptWeightBytes) = (.stream, bytes) }
        let job = Job(
            plan: plan, image: image, endImage: nil, noise: TorchGenerator(seed: 7), trace: nil,
            session: backend.session(), progress: { _, _ in }, frames: { _ in })
        return try StepVideo.load(folder, backend: backend).latents(job).floats()
    }

    /// The bytes of the transformer's file.
    private func transformerBytes() throws -> Int {
        let golden = try GoldenCase("i2v-motion5", family: "step-video")
        return try ModelFolder(path: golden.path + "/model").weights(
            "transformer", stem: "diffusion_pytorch_model"
        ).byteCount
    }

    @Test("kept blocks, some or all, give the latents of streaming everything and of keeping everything")
    func same() throws {
        let size = try transformerBytes()
        let expected = try latents(keeping: nil)
        for bytes in [0, size / 2, 2 * size] {
            #expect(try latents(keeping: bytes) == expected, "\(bytes)")
        }
    }
}
