import RuyiEngine

extension OrderCommand {
    /// What stands on the command line alone.
    func commandLine() throws(Faults) -> Order {
        if picture != nil, input.image != nil {
            throw Faults(Fault(.usage, "the picture is given twice, as <image> and with --image"))
        }
        var order = Order()
        order.request = form.size?.request ?? Request()
        order.request.image = picture ?? input.image
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
        features.fill(&order.request)
        sampling.conditioning.fill(&order.request)
        input.sources.fill(&order)
        form.placing.fill(&order)
        sampling.preview.fill(&order)
        order.seeds = sampling.seed?.seeds ?? []
        order.drawsSeed = sampling.seed?.isDrawn ?? false
        order.variations = sampling.variations
        order.output = outputName
        order.overwrite = output.overwrite
        output.encoding.fill(&order)
        order.keepLatents = output.keepLatents ? true : nil
        order.ignoreSpace = output.ignoreSpace ? true : nil
        order.trace = output.trace
        running.fill(&order)
        return order
    }
}
