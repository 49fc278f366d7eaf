import RuyiTensor

extension GPUSession {
    func convolution(
        _ timeline: [Tensor?], weight: Weight, bias: Weight?, stride step: ConvolutionStride, padding: SpatialPadding,
        residual: Tensor?
    ) -> Tensor {
        guard let frame = timeline.compactMap({ $0 }).first else { preconditionFailure("a timeline of no frame") }
        precondition(weight.rank == 5 && frame.rank == 3, "weight \(weight.shape) over frames \(frame.shape)")
        let (channels, height, width) = (frame.shape[0], frame.shape[1], frame.shape[2])
        let (outputs, taps) = (weight.shape[0], Array(weight.shape[2...]))
        precondition(weight.shape[1] == channels, "weight \(weight.shape) does not take frames \(frame.shape)")
        for other in timeline { precondition(other == nil || other?.shape == frame.shape, "frames of several shapes") }
        let frames = (timeline.count - taps[0]) / step.time + 1
        let outHeight = (height + padding.before + padding.after - taps[1]) / step.height + 1
        let outWidth = (width + padding.before + padding.after - taps[2]) / step.width + 1
        let result = empty([frames, outputs, outHeight, outWidth])
        if let residual { precondition(residual.shape == result.shape, "residual \(residual.shape)") }
        let perPlace = 2 * Double(channels * outputs * taps.reduce(1, *))
        note(
            .convolution(
                inputs: channels, outputs: outputs, frames: taps[0], side: taps[1], stride: step.height),
            perPlace * Double(frames * outHeight * outWidth))
        let sources = timeline.map { $0.map(dense) }
        let added = residual.map(dense)
        let offsets = vector(bias, count: outputs, "bias")
        guard let operand = operand(weight) else { return result }
        var addresses: [UInt32] = []
        for source in sources {
            let address =
                source.flatMap { source in source.gpu.memory.map { $0.address + UInt64(4 * source.offset) } } ?? 0
            addresses += [UInt32(truncatingIfNeeded: address), UInt32(truncatingIfNeeded: address >> 32)]
        }
        let (places, present) = (words(addresses), words(sources.map { $0 == nil ? 0 : 1 }))
        let (name, lines, columns) =
            switch gpu.variant {
            case .lanes: ("convolution_lanes", 8, 64)
            case .tiles: ("convolution_tiles", 64, 64)
            }
        let area = outHeight * outWidth
        let has = (bias != nil ? 1 : 0) | (added != nil ? 2 : 0) | (padding.border == .edge ? 4 : 0)
        let slice = slice(perPlace, grain: columns)
        withExtendedLifetime((sources, added, offsets, operand.keeper, places, present)) {
            for time in 0..<frames {
                for start in Swift.stride(from: 0, to: area, by: slice) {
                    let end = min(start + slice, area)
                    run(
                        Kernel(name, operand.type),
                        [
                            .place(places.memory?.address ?? 0), .place(present.memory?.address ?? 0),
                            .place(operand.place), place(result), .place(offsets?.address ?? 0), place(added),
                            .integer(operand.first), .integer(channels), .integer(height), .integer(width),
                            .integer(outputs), .integer(outHeight), .integer(outWidth), .integer(taps[0]),
                            .integer(taps[1]), .integer(taps[2]), .integer(step.time), .integer(step.height),
                            .integer(step.width), .integer(padding.before), .integer(has), .integer(start),
                            .integer(time),
                        ], groups: ((end - start + columns - 1) / columns, (outputs + lines - 1) / lines, 1),
                        operations: perPlace * Double(end - start))
                }
            }
        }
        return result
    }
}
