typedef signed char BOOL; typedef struct objc_object *id; typedef struct objc_class *Class; typedef struct objc_selector *SEL;
__attribute__((objc_root_class)) @interface Root { Class isa; } +(id)alloc; -(id)init; @end
@implementation Root +(id)alloc{return 0;} -(id)init{return self;} @end
@interface NSString : Root @end
@interface Foo : Root { int x; } @property int y; -(int)go:(int)a; @end
@implementation Foo -(int)go:(int)a{return a+x+self.y;} @end
@interface Foo (Cat) -(void)cat; @end
@implementation Foo (Cat) -(void)cat{} @end
extern void NSLog(id,...);
int main(){ Foo*f=[[Foo alloc] init]; return [f go:3]; }
