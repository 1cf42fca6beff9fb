package bellhop

import "strings"

// Nearest finds the word that was probably meant: the first of those with the fewest slips (a letter too
// many, too few, wrong or swapped with its neighbour), if they are few enough for the word's length.
// Upper and lower case are the same.
func Nearest(word string, known []string) (string, bool) {
	if len(word) > 100 {
		return "", false
	}
	best, fewest := "", 1+max(1, len(word)/3)
	for _, k := range known {
		if len(k) > 100 {
			continue
		}
		if n := slips(strings.ToLower(word), strings.ToLower(k)); n < fewest {
			best, fewest = k, n
		}
	}
	return best, best != ""
}

// slips is the optimal string alignment distance of a and b.
func slips(a, b string) int {
	ra, rb := []rune(a), []rune(b)
	before, above, row := make([]int, len(rb)+1), make([]int, len(rb)+1), make([]int, len(rb)+1)
	for j := range above {
		above[j] = j
	}
	for i := 1; i <= len(ra); i++ {
		row[0] = i
		for j := 1; j <= len(rb); j++ {
			wrong := 1
			if ra[i-1] == rb[j-1] {
				wrong = 0
			}
			row[j] = min(above[j]+1, row[j-1]+1, above[j-1]+wrong)
			if i > 1 && j > 1 && ra[i-1] == rb[j-2] && ra[i-2] == rb[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, above, row = above, row, before
	}
	return above[len(rb)]
}
