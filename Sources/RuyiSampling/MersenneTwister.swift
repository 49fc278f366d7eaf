/// The 32-bit Mersenne Twister (mt19937) of Matsumoto and Nishimura, ACM TOMACS 8(1), 1998.
struct MersenneTwister {
    private var state: [UInt32]
    private var position: Int

    /// `init_genrand` of the authors' reference code.
    init(seed: UInt32) {
        var words = [seed]
        words.reserveCapacity(624)
        for index in 1..<624 {
            let last = words[index - 1]
            words.append(1_812_433_253 &* (last ^ (last >> 30)) &+ UInt32(index))
        }
        state = words
        position = 624
    }

    /// The next 32 bits.
    mutating func next() -> UInt32 {
        if position == 624 { regenerate() }
        var word = state[position]
        position += 1
        word ^= word >> 11
        word ^= (word << 7) & 0x9D2C_5680
        word ^= (word << 15) & 0xEFC6_0000
        word ^= word >> 18
        return word
    }

    private mutating func regenerate() {
        position = 0
        state.withUnsafeMutableBufferPointer { words in
            for index in 0..<624 {
                let next = words[index == 623 ? 0 : index + 1]
                let mixed = (words[index] & 0x8000_0000) | (next & 0x7FFF_FFFF)
                let far = words[index < 227 ? index + 397 : index - 227]
                words[index] = far ^ (mixed >> 1) ^ (next & 1 == 0 ? 0 : 0x9908_B0DF)
            }
        }
    }
}
