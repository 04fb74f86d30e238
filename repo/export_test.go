package repo

const LongestSound = longestSound
