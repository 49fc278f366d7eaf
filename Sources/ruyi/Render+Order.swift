import RuyiEngine

extension Render {
    /// The order that the command line gives, with the gaps filled from its request file.
    func order() throws(Faults) -> Order {
        let given = try commandLine()
        guard let file = input.request else { return given }
        return given.over(try RequestReader.read(file))
    }

    /// What stands on the command line alone.
    func commandLine() throws(Faults) -> Order {
        if input.picture != nil, input.image != nil {
            throw Faults(Fault(.usage, "the picture is given twice, as <image> and with --image"))
        }
        var order = Order()
        order.request = form.size?.request ?? Request()
        order.request.image = input.picture ?? input.image
        order.request.endImage = input.endImage
        order.request.model = input.model
        order.request.prompt = input.prompt
        order.request.negativePrompt = input.negativePrompt
        order.request.baseResolution = form.baseResolution
        order.request.frames = form.frames
        order.request.seconds = form.seconds
        order.request.fps = form.fps
        order.request.steps = sampling.steps
        order.request.scheduler = sampling.scheduler
        order.request.guidance = sampling.guidance
        order.request.noise = sampling.noise
        order.request.camera = motion.camera?.name
        order.request.motion = motion.motion?.level
        order.request.precision = running.precision?.name
        features.fill(&order.request)
        order.seeds = sampling.seed?.seeds ?? []
        order.output = output.output
        order.overwrite = output.overwrite ? true : nil
        order.crf = output.crf
        order.trace = output.trace
        order.threads = running.threads
        order.quiet = running.quiet ? true : nil
        order.progress = running.progress
        order.dryRun = running.dryRun ? true : nil
        return order
    }
}
