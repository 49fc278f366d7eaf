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
        let offsets = vector(bias, count: outputs, "bias")
        let added = residual.map(dense)
        let operands = convolutionOperands(timeline, weight, step)
        guard let stored = operands.weight else { return result }
        let addresses = operands.places.flatMap {
            [UInt32(truncatingIfNeeded: $0), UInt32(truncatingIfNeeded: $0 >> 32)]
        }
        let (places, present) = (words(addresses), words(timeline.map { $0 == nil ? 0 : 1 }))
        let (kernel, lines, columns) = operands.kernel
        // What invocations count: places, or runs of them that lie side by side.
        let area = outHeight * ((outWidth + operands.run - 1) / operands.run)
        let has = (bias != nil ? 1 : 0) | (added != nil ? 2 : 0) | (padding.border == .edge ? 4 : 0)
        let slice = slice(perPlace * Double(operands.run), grain: columns)
        withExtendedLifetime((operands, added, offsets, places, present)) {
            for time in 0..<frames {
                for start in Swift.stride(from: 0, to: area, by: slice) {
                    let end = min(start + slice, area)
                    run(
                        kernel,
                        [
                            .place(places.memory?.address ?? 0), .place(present.memory?.address ?? 0),
                            .place(stored.place), place(result), .place(offsets?.address ?? 0), place(added),
                            .integer(stored.first), .integer(operands.channels), .integer(height), .integer(width),
                            .integer(outputs), .integer(outHeight), .integer(outWidth), .integer(taps[0]),
                            .integer(taps[1]), .integer(taps[2]), .integer(step.time), .integer(step.height),
                            .integer(step.width), .integer(padding.before), .integer(has), .integer(start),
                            .integer(time),
                        ], groups: ((end - start + columns - 1) / columns, (outputs + lines - 1) / lines, 1),
                        operations: perPlace * Double((end - start) * operands.run))
                }
            }
        }
        return result
    }

    /// What a kernel for convolutions reads.
    private struct ConvolutionOperands {
        /// With the channels and the runs of places that a group of it makes.
        let kernel: (Kernel, Int, Int)
        /// Places of a run.
        let run: Int
        let weight: (place: UInt64, first: Int, type: UInt32, keeper: AnyObject)?
        /// Where frames begin; 0 for those that are not there.
        let places: [UInt64]
        /// Channels as the kernel counts them.
        let channels: Int
        /// What keeps the frames.
        let keepers: [AnyObject]
    }

    private func convolutionOperands(
        _ timeline: [Tensor?], _ weight: Weight, _ step: ConvolutionStride
    ) -> ConvolutionOperands {
        let (outputs, channels) = (weight.shape[0], weight.shape[1])
        let sources = timeline.map { $0.map(dense) }
        let stored = operand(weight)
        // Few channels are not worth being put side by side.
        if let style, style.way != .invocations, channels >= 16, outputs >= 32,
            let kernel = matrices("convolution", style.halves, UInt32(style.tile), UInt32(style.tile))
        {
            let taps = weight.shape[2...].reduce(1, *)
            let last = channelsLast(stored, items: outputs, channels: channels, places: taps, style.halves)
            let frames = sources.map { source in
                source.map { source in
                    channelsLast(
                        operand(source), items: 1, channels: channels, places: source.count / channels,
                        style.halves)
                }
            }
            return ConvolutionOperands(
                kernel: (kernel, style.tile, style.tile), run: 1,
                weight: (last.place, 0, 0, last.keeper), places: frames.map { $0?.place ?? 0 },
                channels: Halves.pitch(channels), keepers: frames.compactMap { $0?.keeper })
        }
        let places = sources.map { source in
            source.flatMap { source in source.gpu.memory.map { $0.address + UInt64(4 * source.offset) } } ?? 0
        }
        let type = stored?.type ?? 0
        // Each number of a line is read once for three that lie side by side.
        let across: UInt32 = weight.shape[4] == 3 && step.width == 1 ? 3 : 0
        let (kernel, run) =
            switch gpu.variant {
            case .lanes: ((Kernel("convolution_lanes", type, across), 4, 16), 4)
            case .tiles: ((Kernel("convolution_tiles", type), 64, 64), 1)
            }
        return ConvolutionOperands(
            kernel: kernel, run: run, weight: stored, places: places, channels: channels,
            keepers: sources.compactMap { $0?.storage })
    }
}
